"""Promptable models: plain ``nn.Module`` classes that know nothing of Lightning."""

from __future__ import annotations

from syncsam_lightning.models.promptable import ImageFeatures, InputSpec, PromptableModel
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
    "ImageFeatures",
    "InputSpec",
    "LoadReport",
    "PromptableModel",
    "SyncSAM",
    "find_sam_checkpoint",
    "frozen_checksum",
    "initialise_frozen",
    "load_imagenet_weights",
    "load_weights",
    "weights_checksum",
]
