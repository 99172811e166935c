"""Boxes as a hurried user draws them: seeded shifts of tight boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from syncsam_lightning.prompts.purpose import Purpose
from syncsam_lightning.prompts.random import integers

JitterRule = Literal["translate", "edges", "none"]

REFERENCE_SIDE = 256
"""Side of the square in whose pixels shifts are counted; at other sides they are scaled."""


@dataclass(frozen=True)  # no slots: jsonargparse reads defaults from __dict__
class BoxJitter:
    """How far off a simulated box is.

    Lengths are in pixels of a 256-square and scaled with the side of the model's square.

    Args:
        rule: ``"translate"`` moves the whole box by one ``dx, dy``, each a whole number in
            ``[-m, m)`` with ``m = min(max_shift, half of the shorter side)`` (SAM-Med2D's rule);
            ``"edges"`` moves each edge by its own whole number in ``[-m, m]``, ``m`` being small
            enough that opposite edges can't meet; ``"none"`` leaves the box tight.
        max_shift: the largest shift.

    Raises:
        ValueError: ``rule`` is not one of the three, or ``max_shift`` is negative.
    """

    rule: JitterRule = "translate"
    max_shift: int = 5

    def __post_init__(self) -> None:
        if self.rule not in (rules := get_args(JitterRule)):
            raise ValueError(f"rule must be one of {', '.join(rules)}, got {self.rule!r}")
        if self.max_shift < 0:
            raise ValueError(f"max_shift must be 0 or more, got {self.max_shift}")


def jitter_boxes(
    boxes: Tensor,
    keys: Tensor,
    jitter: BoxJitter,
    *,
    draw: int,
    side: int,
    sizes: Tensor,
    image_index: Tensor,
    origins: Tensor | None = None,
) -> Tensor:
    """Shift boxes, keeping them on the image and never empty.

    Args:
        boxes: ``(N, 4)`` float ``x0, y0, x1, y1``, half open, within the image part of the square.
        keys: ``(N,)`` int64 keys of the objects.
        jitter: the rule.
        draw: number of the draw; another number gives independent shifts.
        side: S, side of the model's square in pixels.
        sizes: ``(B, 2)`` height and width of the part of each square that is image.
        image_index: ``(N,)`` the image of each object.
        origins: ``(B, 2)`` row and column where that part begins; None: all at 0, 0.

    Returns:
        ``(N, 4)`` float32. The empty box ``0, 0, 0, 0`` of an empty mask stays as it is.
    """
    boxes = boxes.to(torch.float32)
    if jitter.rule == "none":
        return boxes
    scale = side / REFERENCE_SIDE
    shorter = torch.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) / scale
    if jitter.rule == "translate":
        limit = _shift_limit(shorter / 2, jitter.max_shift)
        draws = integers(keys, Purpose.BOX_JITTER, draw, high=2 * limit, num=2)
        shifts = (draws - limit[:, None]).repeat(1, 2)
    else:
        limit = _shift_limit((shorter - 1) / 2, jitter.max_shift)
        draws = integers(keys, Purpose.BOX_JITTER, draw, high=2 * limit + 1, num=4)
        shifts = draws - limit[:, None]
    extent = sizes[image_index].flip(1).repeat(1, 2).to(torch.float32)
    near = torch.zeros_like(extent)
    if origins is not None:
        near = origins[image_index].flip(1).repeat(1, 2).to(torch.float32)
        near = near.where((boxes != 0).any(1, keepdim=True), 0.0)
    return torch.minimum(torch.maximum(boxes + shifts * scale, near), near + extent)


def _shift_limit(room: Tensor, max_shift: int) -> Tensor:
    """Return the whole part of ``room`` in 0..max_shift as int64."""
    return room.floor().clamp(min=0, max=max_shift).to(torch.int64)
