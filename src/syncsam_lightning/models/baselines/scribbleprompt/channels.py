"""Prompts drawn as pictures, which is how a U-Net takes them.

Shapes: N objects, P points each, S the side of the model's square.
"""

from __future__ import annotations

import torch
from torch import Tensor

from syncsam_lightning.prompts import MixedPrompts, Prompts
from syncsam_lightning.prompts.prompts import FOREGROUND, PADDING

NUM_PROMPT_CHANNELS = 4  # box, foreground clicks, background clicks, previous answer


def prompt_channels(prompts: Prompts, side: int) -> Tensor:
    """Draw the prompts of N objects.

    Args:
        prompts: in model pixels; their mask logits, if any, are ``(N, S, S)``.
        side: S.

    Returns:
        ``(N, 4, S, S)`` float32: the filled box, the foreground clicks, the background clicks (1
        on them, 0 elsewhere), and the previous logits. What is not given is zero.

    Raises:
        ValueError: the previous masks have another size than S.
    """
    if isinstance(prompts, MixedPrompts):
        prompts = prompts.separate()
    empty = torch.zeros(prompts.num_objects, side, side, device=prompts.image_index.device)
    box = empty if prompts.boxes is None else draw_boxes(prompts.boxes, side)
    foreground, background = empty, empty
    if prompts.points is not None and prompts.point_labels is not None:
        foreground, background = draw_clicks(prompts.points, prompts.point_labels, side)
    answer = empty
    if prompts.mask_logits is not None:
        if prompts.mask_logits.shape[1:] != (side, side):
            raise ValueError(
                f"mask_logits must be ({prompts.num_objects}, {side}, {side}), "
                f"got {tuple(prompts.mask_logits.shape)}"
            )
        answer = prompts.mask_logits.float()
    return torch.stack([box, foreground, background, answer], dim=1)


def draw_boxes(boxes: Tensor, side: int) -> Tensor:
    """Fill half-open boxes ``[y0:y1, x0:x1]`` with 1.

    Edges between pixels are rounded half up and cut off at the square. A box that has an extent
    covers at least one pixel, however small it is; an empty one covers none.

    Args:
        boxes: ``(N, 4)`` x0, y0, x1, y1.
        side: S.

    Returns:
        ``(N, S, S)`` float32 in {0, 1}.
    """
    starts, ends = boxes.float().reshape(-1, 2, 2).unbind(1)
    first = (starts + 0.5).floor().clamp(0, side - 1)
    last = torch.where(ends > starts, torch.maximum((ends + 0.5).floor(), first + 1), first)
    pixels = torch.arange(side, device=boxes.device)
    # (N, 2, S): which columns and which rows.
    covered = (pixels >= first.unsqueeze(-1)) & (pixels < last.unsqueeze(-1))
    columns, rows = covered.unbind(1)
    return (rows.unsqueeze(2) & columns.unsqueeze(1)).float()


def draw_clicks(points: Tensor, labels: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Mark each click on one pixel of the channel of its label.

    Points between pixels are rounded half up; those outside go to the border. Of two clicks with
    different labels on one pixel the later one counts.

    Args:
        points: ``(N, P, 2)`` x, y.
        labels: ``(N, P)`` 1 foreground, 0 background, -1 padding, which leaves no mark.
        side: S.

    Returns:
        Foreground and background clicks, each ``(N, S, S)`` float32 in {0, 1}.
    """
    n, p = labels.shape
    x, y = (points.float() + 0.5).floor().clamp(0, side - 1).long().unbind(-1)
    channel = (labels == FOREGROUND).long()
    place = (channel * side + y) * side + x
    # The number of the last click on each pixel and label, from 1; a maximum needs no order of
    # execution and, unlike an assignment under a boolean index, no answer from the GPU.
    number = torch.arange(1, p + 1, device=labels.device) * (labels != PADDING)
    latest = number.new_zeros(n, 2 * side * side).scatter_reduce(1, place, number, "amax")
    background, foreground = latest.reshape(n, 2, side, side).unbind(1)
    return (foreground > background).float(), (background > foreground).float()
