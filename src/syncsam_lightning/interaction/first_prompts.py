"""The rules by which a simulated user's first prompt follows from the object."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from syncsam_lightning.geometry import largest_components, masks_to_boxes
from syncsam_lightning.prompts import Clicks, Targets, central_clicks, foreground_clicks
from syncsam_lightning.prompts.prompts import FOREGROUND

BoxRule = Literal["tight", "largest_component", "last_pixel"]
"""``"tight"``: around the object as it is at the original resolution, half open;
``"largest_component"``: around the largest component of the mask at the model's resolution, half
open (SAM-Med2D); ``"last_pixel"``: around the whole mask at the model's resolution, its far corner
being the last pixel rather than the edge behind it (IMIS-Bench)."""

ClickRule = Literal["uniform", "decided", "central"]
"""``"uniform"``: anywhere on the object as the model sees it (SAM, SAM-Med2D); ``"decided"``: at
:attr:`Targets.first_points`, which evaluation draws at the original resolution, so that models of
every size and fit meet the same click, and as ``"uniform"`` where nothing is decided;
``"central"``: on the half of it that is nearest to its centroid (IMIS-Bench)."""


def first_boxes(targets: Targets, rule: BoxRule) -> Tensor:
    """Return the box that a user draws around each object, without jitter.

    Args:
        targets: N objects.
        rule: how.

    Returns:
        ``(N, 4)`` float32 ``x0, y0, x1, y1`` in the model frame. The empty box ``0, 0, 0, 0`` for
        an empty mask.
    """
    if rule == "tight":
        return targets.boxes
    if rule == "largest_component":
        return masks_to_boxes(largest_components(targets.masks))
    last_pixel = torch.tensor([0.0, 0.0, 1.0, 1.0], device=targets.masks.device)
    return (masks_to_boxes(targets.masks) - last_pixel).clamp(min=0)


def first_clicks(targets: Targets, rule: ClickRule) -> Clicks:
    """Return the one click with which a user points at each object.

    Args:
        targets: N objects.
        rule: how.
    """
    if rule == "decided" and targets.first_points is not None:
        points = targets.first_points[:, None]
        labels = torch.full(points.shape[:2], FOREGROUND, dtype=torch.int64, device=points.device)
        return Clicks(points, labels)
    click = central_clicks if rule == "central" else foreground_clicks
    return click(targets.masks, targets.keys, draw=0)
