"""IMIS-Net's image encoder: SAM's ViT as it is, and a neck that keeps all its channels."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from syncsam_lightning.models.syncsam.encoder import sam_neck
from syncsam_lightning.models.vit import StagedViT, ViTShape


class IMISViT(StagedViT):
    """SAM's ViT, whose positions are brought to another image size as timm does it."""

    position_resampling = "bicubic"


class IMISImageEncoder(nn.Module):
    """A ViT and a neck.

    Args:
        shape: of the ViT.
        embed_dim: channels C of the embedding.
    """

    def __init__(self, shape: ViTShape, embed_dim: int) -> None:
        super().__init__()
        self.vit = IMISViT(shape)
        self.neck = sam_neck(shape.vit_width, embed_dim)
        self.neck.to(memory_format=torch.channels_last)  # as tokens lie in memory

    def forward(self, images: Tensor) -> Tensor:
        """Return the embedding ``(B, C, S/16, S/16)`` of normalised images ``(B, 3, S, S)``."""
        return cast(Tensor, self.neck(self.vit(images).permute(0, 3, 1, 2)))
