"""Means by group (data set, modality, ...) that are exact on any number of ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics import Metric


@dataclass(slots=True)  # not frozen: torchmetrics refuses frozen results
class GroupStatistic:
    """What is known of one group.

    Args:
        mean: mean of the values; NaN if there are none.
        std: their population standard deviation (divided by ``count``); NaN if there are none.
        count: how many values.
    """

    mean: float
    std: float
    count: int


class GroupedMean(Metric):
    """Mean, standard deviation and count of values by group.

    The groups are fixed beforehand, so that every rank holds the same states whatever it saw. The
    states are sums (float64) and counts, which ranks add up: no rank's mean is averaged with
    another's, and ranks may see different numbers of values or none.

    Args:
        groups: names of the groups; the order of the result.

    Raises:
        ValueError: a name is given twice.
    """

    full_state_update = False
    is_differentiable = False

    total: Tensor
    squares: Tensor
    count: Tensor

    def __init__(self, groups: Sequence[str]) -> None:
        super().__init__()
        self.groups = tuple(groups)
        self._position = {name: i for i, name in enumerate(self.groups)}
        if len(self._position) < len(self.groups):
            twice = sorted({name for name in self.groups if self.groups.count(name) > 1})
            raise ValueError(f"groups holds names twice: {', '.join(twice)}")
        zeros = torch.zeros(len(self.groups), dtype=torch.float64)
        self.add_state("total", zeros, dist_reduce_fx="sum")
        self.add_state("squares", zeros.clone(), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros_like(zeros, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, values: Tensor, names: Sequence[str]) -> None:
        """Add values.

        Args:
            values: ``(n,)``, any float dtype. A NaN makes its own group's result NaN.
            names: n names, the group of each value.

        Raises:
            ValueError: the lengths differ, or a name is not one of the groups.
        """
        if values.shape != (len(names),):
            raise ValueError(
                f"values must be ({len(names)},), one per name, got {tuple(values.shape)}"
            )
        if unknown := sorted(set(names) - self._position.keys()):
            raise ValueError(
                f"unknown group {', '.join(map(repr, unknown))}; "
                f"the groups are {', '.join(self.groups) or 'none'}"
            )
        device = self.total.device
        position = torch.tensor([self._position[name] for name in names], device=device)
        member = position == torch.arange(len(self.groups), device=device)[:, None]
        # A masked sum rather than index_add_, whose order on a GPU changes from run to run.
        mine = torch.where(member, values.detach().to(device, torch.float64), 0.0)
        self.total = self.total + mine.sum(dim=1)
        self.squares = self.squares + mine.square().sum(dim=1)
        self.count = self.count + member.sum(dim=1)

    def compute(self) -> dict[str, GroupStatistic]:
        """Return the statistic of each group, over all ranks."""
        mean = self.total / self.count
        variance = (self.squares / self.count - mean.square()).clamp(min=0)
        rows = zip(mean.tolist(), variance.sqrt().tolist(), self.count.tolist(), strict=True)
        return {name: GroupStatistic(*row) for name, row in zip(self.groups, rows, strict=True)}
