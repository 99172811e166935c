"""The models that SyncSAM is compared with, each a promptable model of its own."""

from __future__ import annotations

from syncsam_lightning.models.baselines.imis import IMISNet
from syncsam_lightning.models.baselines.medsam import MedSAM
from syncsam_lightning.models.baselines.sam import FTSAM, SAM
from syncsam_lightning.models.baselines.sam_med2d import SAMMed2D
from syncsam_lightning.models.baselines.scribbleprompt import ScribblePromptSAM, ScribblePromptUNet

__all__ = [
    "FTSAM",
    "SAM",
    "IMISNet",
    "MedSAM",
    "SAMMed2D",
    "ScribblePromptSAM",
    "ScribblePromptUNet",
]
