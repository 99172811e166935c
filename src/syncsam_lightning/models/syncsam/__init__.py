"""SyncSAM: a ViT branch and a CNN branch encoded in step, and a multi-scale decoder.

Source: "Improved Baselines with Synchronized Encoding for Universal Medical Image Segmentation"
(MICCAI 2025).
"""

from __future__ import annotations

from syncsam_lightning.models.syncsam.architecture import Architecture
from syncsam_lightning.models.syncsam.model import SyncSAM

__all__ = ["Architecture", "SyncSAM"]
