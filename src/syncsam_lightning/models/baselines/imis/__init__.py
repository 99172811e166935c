"""IMIS-Net (Cheng et al., CVPR 2025): the model of IMed-361M, without its text tower."""

from __future__ import annotations

from syncsam_lightning.models.baselines.imis.model import IMISNet

__all__ = ["IMISNet"]
