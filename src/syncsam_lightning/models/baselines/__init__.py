"""The models that SyncSAM is compared with, each a promptable model of its own."""

from __future__ import annotations

from syncsam_lightning.models.baselines.medsam import MedSAM
from syncsam_lightning.models.baselines.sam import FTSAM, SAM
from syncsam_lightning.models.baselines.sam_med2d import SAMMed2D

__all__ = ["FTSAM", "SAM", "MedSAM", "SAMMed2D"]
