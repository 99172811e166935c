"""Promptable models: plain ``nn.Module`` classes that know nothing of Lightning."""

from syncsam_lightning.models.promptable import ImageFeatures, InputSpec, PromptableModel
from syncsam_lightning.models.syncsam.model import SyncSAM
from syncsam_lightning.models.weights.loading import LoadReport, load_weights

__all__ = [
    "ImageFeatures",
    "InputSpec",
    "LoadReport",
    "PromptableModel",
    "SyncSAM",
    "load_weights",
]
