"""The optimiser and how its learning rate moves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LinearLR, MultiStepLR


def adam_with_schedules(
    parameters: Iterable[nn.Parameter],
    *,
    lr: float,
    milestones: Sequence[int],
    gamma: float,
    warmup_steps: int,
    fused: bool,
) -> tuple[list[torch.optim.Optimizer], list[dict[str, Any]]]:
    """Return Adam, the schedule by epoch and the warm-up by step, as Lightning takes them.

    Both schedules multiply the rate, so they may overlap.

    Args:
        parameters: what is trained.
        lr: learning rate between warm-up and first milestone.
        milestones: epochs at which it is multiplied by ``gamma``.
        gamma: factor at the milestones.
        warmup_steps: steps over which it first rises, linearly from ``lr / warmup_steps``.
        fused: whether all parameters are updated by one kernel.
    """
    optimizer = torch.optim.Adam(parameters, lr=lr, fused=fused)
    by_epoch = MultiStepLR(optimizer, milestones=milestones, gamma=gamma)
    schedules: list[dict[str, Any]] = [{"scheduler": by_epoch, "interval": "epoch"}]
    if warmup_steps:
        warmup = LinearLR(optimizer, start_factor=1 / warmup_steps, total_iters=warmup_steps - 1)
        schedules.append({"scheduler": warmup, "interval": "step"})
    return [optimizer], schedules
