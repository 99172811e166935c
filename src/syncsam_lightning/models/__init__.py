"""Promptable models: plain ``nn.Module`` classes that know nothing of Lightning."""

from __future__ import annotations

from syncsam_lightning.models.baselines import (
    FTSAM,
    SAM,
    IMISNet,
    MedSAM,
    SAMMed2D,
    ScribblePromptSAM,
    ScribblePromptUNet,
)
from syncsam_lightning.models.promptable import (
    ImageFeatures,
    InputSpec,
    PromptableModel,
    ScoredMasks,
)
from syncsam_lightning.models.syncsam import SyncSAM
from syncsam_lightning.models.weights import (
    LoadReport,
    find_sam_checkpoint,
    frozen_checksum,
    initialise_frozen,
    load_imagenet_weights,
    load_weights,
    weights_checksum,
)

__all__ = [
    "FTSAM",
    "SAM",
    "IMISNet",
    "ImageFeatures",
    "InputSpec",
    "LoadReport",
    "MedSAM",
    "PromptableModel",
    "SAMMed2D",
    "ScoredMasks",
    "ScribblePromptSAM",
    "ScribblePromptUNet",
    "SyncSAM",
    "find_sam_checkpoint",
    "frozen_checksum",
    "initialise_frozen",
    "load_imagenet_weights",
    "load_weights",
    "weights_checksum",
]
