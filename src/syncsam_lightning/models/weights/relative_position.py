"""Fitting SAM's position tables to another image size."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def resize_position_embedding(table: Tensor, grid: tuple[int, int]) -> Tensor:
    """Resample absolute position embeddings to another token grid.

    Args:
        table: ``(1, h, w, C)``.
        grid: target height and width in tokens.

    Returns:
        ``(1, *grid, C)``, bilinear.
    """
    resized = F.interpolate(
        table.permute(0, 3, 1, 2).float(), grid, mode="bilinear", align_corners=False
    )
    return resized.permute(0, 2, 3, 1).to(table.dtype)


def resize_relative_position(table: Tensor, length: int) -> Tensor:
    """Resample relative position embeddings of one axis.

    Args:
        table: ``(2 g - 1, C)`` for a grid of g tokens.
        length: target length, ``2 g' - 1``.

    Returns:
        ``(length, C)``, linear (as SAM does for grids that differ from the trained one).
    """
    resized = F.interpolate(table.T[None].float(), length, mode="linear", align_corners=False)
    return resized[0].T.to(table.dtype)
