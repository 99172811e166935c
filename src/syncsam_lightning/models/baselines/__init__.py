"""The models that SyncSAM is compared with, each under its own published rules."""

from __future__ import annotations

from syncsam_lightning.models.baselines.imis import IMISNet
from syncsam_lightning.models.baselines.scribbleprompt import ScribblePromptUNet

__all__ = ["IMISNet", "ScribblePromptUNet"]
