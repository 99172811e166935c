"""What a user waits for: an answer to a click, and to many boxes at once."""

from __future__ import annotations

from functools import partial

import torch

from benchmarks.training.report import Line
from benchmarks.training.setting import Setting
from benchmarks.training.timing import in_turns
from syncsam_lightning.prompts import Prompts

_BOXES = 100
_CLICKS_PER_REPEAT = 6


@torch.no_grad()
def measure_click(setting: Setting) -> list[Line]:
    """Time decoding alone, the image being encoded already."""
    model, device = setting.model().eval(), setting.device
    features = model.encode(setting.batch(images=1).images)
    grid = setting.model().input_spec.mask_size
    middle = setting.side / 2
    first = Prompts(
        torch.zeros(1, dtype=torch.int64, device=device),
        points=torch.full((1, 1, 2), middle, device=device),
        point_labels=torch.ones(1, 1, dtype=torch.int64, device=device),
    )
    next_one = Prompts(
        first.image_index,
        points=first.points.expand(-1, 3, -1),
        point_labels=first.point_labels.expand(-1, 3),
        mask_logits=torch.zeros(1, grid, grid, device=device),
    )
    corners = torch.rand(_BOXES, 2, device=device) * middle
    boxes = Prompts(
        torch.zeros(_BOXES, dtype=torch.int64, device=device),
        boxes=torch.cat([corners, corners + middle / 2], dim=1),
    )
    few = in_turns(
        {
            "first": partial(model.decode, features, first),
            "next": partial(model.decode, features, next_one),
        },
        _CLICKS_PER_REPEAT * setting.repeats,
    )
    many = in_turns({"boxes": partial(model.decode, features, boxes)}, setting.repeats)
    return [
        Line("first click", [1e3 * t for t in few["first"]], "ms", 15.0),
        Line("third click, with the previous mask", [1e3 * t for t in few["next"]], "ms", 15.0),
        Line(f"{_BOXES} boxes on one image", many["boxes"], "s", 0.5),
    ]
