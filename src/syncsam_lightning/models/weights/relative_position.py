"""Fitting SAM's position tables, made for 1024 pixels, to another image size."""

from __future__ import annotations

import re
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

_ABSOLUTE = re.compile(r"(^|\.)pos_embed$")
_RELATIVE = re.compile(r"^(?P<block>.*\.blocks\.\d+)\.attn\.rel_pos_[hw]$")


def is_position_table(model: nn.Module, key: str) -> bool:
    """Whether the tensor ``key`` of ``model`` depends on the image size.

    That is so for the absolute positions and the relative tables of global blocks. Tables of
    windowed blocks span a window, whatever the image.
    """
    if _ABSOLUTE.search(key):
        return True
    match = _RELATIVE.match(key)
    return match is not None and getattr(model.get_submodule(match["block"]), "window_size", 1) == 0


def resampling_rule(model: nn.Module, key: str) -> Literal["bilinear", "bicubic"]:
    """Return the rule of the ViT that the position table ``key`` belongs to."""
    vit = model.get_submodule(key.rpartition(".")[0])
    rule: Literal["bilinear", "bicubic"] = getattr(vit, "position_resampling", "bilinear")
    return rule


def resize_position_table(
    table: Tensor, shape: tuple[int, ...], rule: Literal["bilinear", "bicubic"] = "bilinear"
) -> Tensor | None:
    """Interpolate a position table to another grid, with pixel centres aligned.

    Args:
        table: absolute positions ``(1, h, w, C)``, or a relative table ``(L, C)``, which is always
            interpolated linearly.
        shape: to bring it to.
        rule: for absolute positions. ``"bilinear"`` is that of SAM-Med2D and of the authors'
            predecessor; ``"bicubic"``, with antialiasing, that of timm and hence of IMIS-Net.

    Returns:
        The table in ``shape``; None if the shapes differ in more than the grid.
    """
    if table.ndim != len(shape) or table.shape[-1] != shape[-1]:
        return None
    if table.ndim == 4 and table.shape[0] == shape[0] == 1:
        grid = table.permute(0, 3, 1, 2).float()
        resized = F.interpolate(
            grid, shape[1:3], mode=rule, align_corners=False, antialias=rule == "bicubic"
        )
        return resized.permute(0, 2, 3, 1).to(table.dtype)
    if table.ndim == 2:
        line = table.T.unsqueeze(0).float()
        resized = F.interpolate(line, shape[0], mode="linear", align_corners=False)
        return resized.squeeze(0).T.to(table.dtype)
    return None
