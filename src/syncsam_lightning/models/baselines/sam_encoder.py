"""SAM's image encoder: its ViT and the neck."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from syncsam_lightning.models.syncsam.encoder import sam_neck
from syncsam_lightning.models.vit import StagedViT, ViTShape


class SAMImageEncoder(StagedViT):
    """SAM's image encoder; parameter names and numbers are ``segment_anything``'s.

    Args:
        shape: of the ViT.
    """

    def __init__(self, shape: ViTShape) -> None:
        super().__init__(shape)
        self.neck = sam_neck(shape.vit_width)
        self.neck.to(memory_format=torch.channels_last)  # as tokens lie in memory

    def forward(self, images: Tensor) -> Tensor:
        """Return the embedding ``(B, 256, S/16, S/16)`` of normalised images ``(B, 3, S, S)``."""
        tokens = super().forward(images)
        return cast(Tensor, self.neck(tokens.permute(0, 3, 1, 2)))
