"""Clicks near the middle of an object.

Shapes: N objects, S the side of the model's square.
"""

from __future__ import annotations

import torch
from torch import Tensor

from syncsam_lightning.prompts.clicks import Clicks
from syncsam_lightning.prompts.prompts import FOREGROUND, PADDING
from syncsam_lightning.prompts.purpose import Purpose
from syncsam_lightning.prompts.random import integers


def central_clicks(masks: Tensor, keys: Tensor, *, draw: int) -> Clicks:
    """Click once, uniformly on the half of the foreground that lies nearest to its centroid.

    IMIS-Bench's rule for the first point of a test. Pixels at one distance are taken in reading
    order. Of an odd number of pixels the smaller half counts, but at least one pixel: IMIS-Bench
    itself clicks on the background of an object of one pixel, and calls it background.

    Args:
        masks: ``(N, S, S)`` bool, S below 1,200.
        keys: ``(N,)`` int64 keys of the objects.
        draw: number of the draw; another number gives an independent click.

    Returns:
        One click per object with label 1; on an empty mask, padding (see :class:`Clicks`).
    """
    owner, y, x = masks.nonzero(as_tuple=True)
    area = masks.sum(dim=(1, 2))
    order = _by_distance(owner, y, x, area)
    begin = area.cumsum(0) - area
    rank = integers(keys, Purpose.CENTRAL_CLICK, draw, high=(area // 2).clamp(min=1))[:, 0]
    exists = area > 0
    if not len(order):
        points = torch.zeros((len(masks), 2), device=masks.device)
    else:
        pixel = order[torch.where(exists, begin + rank, 0)]
        points = torch.where(exists[:, None], torch.stack([x[pixel], y[pixel]], dim=1), 0).float()
    labels = torch.where(exists, FOREGROUND, PADDING)
    return Clicks(points[:, None], labels[:, None])


def _by_distance(owner: Tensor, y: Tensor, x: Tensor, area: Tensor) -> Tensor:
    """Return the positions of all pixels, object by object, the nearest to the centroid first."""
    # Whole numbers, so that no device rounds differently: the offset from the centroid times the
    # object's area. At a side of 1,200 its square comes near 2**63.
    squared = torch.zeros_like(owner)
    for axis in (y, x):
        total = torch.zeros_like(area).index_add_(0, owner, axis)
        squared += (axis * area[owner] - total[owner]).square()
    nearest = squared.argsort(stable=True)
    return nearest[owner[nearest].argsort(stable=True)]
