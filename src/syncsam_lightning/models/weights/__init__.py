"""Checkpoints: the layouts that exist, how each becomes ours, and where the official ones are."""

from __future__ import annotations

from syncsam_lightning.models.weights.frozen import (
    frozen_checksum,
    initialise_frozen,
    weights_checksum,
)
from syncsam_lightning.models.weights.imagenet import load_imagenet_weights
from syncsam_lightning.models.weights.loading import load_weights
from syncsam_lightning.models.weights.report import LoadReport
from syncsam_lightning.models.weights.sam_checkpoint import find_sam_checkpoint

__all__ = [
    "LoadReport",
    "find_sam_checkpoint",
    "frozen_checksum",
    "initialise_frozen",
    "load_imagenet_weights",
    "load_weights",
    "weights_checksum",
]
