"""How much two masks overlap: Dice (DSC) and intersection over union, mask by mask."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class _Counts:
    """Pixels per mask, ``(N,)`` int64."""

    intersection: Tensor
    predicted: Tensor
    true: Tensor


def dice(prediction: Tensor, truth: Tensor, *, empty: float = 1.0) -> Tensor:
    """Return the Dice coefficient of each mask, ``2 |P ∩ T| / (|P| + |T|)``.

    Args:
        prediction: ``(N, H, W)`` bool.
        truth: ``(N, H, W)`` bool.
        empty: the result for two empty masks; by default they agree.

    Returns:
        ``(N,)`` float64 in [0, 1]. One empty mask: 0.

    Raises:
        ValueError: the shapes differ, or a mask is not bool.
    """
    counts = _count(prediction, truth)
    return _ratio(2 * counts.intersection, counts.predicted + counts.true, empty)


def iou(prediction: Tensor, truth: Tensor, *, empty: float = 1.0) -> Tensor:
    """Return the intersection over union of each mask, ``|P ∩ T| / |P ∪ T|``.

    Args, empty masks and errors are those of :func:`dice`.
    """
    counts = _count(prediction, truth)
    union = counts.predicted + counts.true - counts.intersection
    return _ratio(counts.intersection, union, empty)


def _count(prediction: Tensor, truth: Tensor) -> _Counts:
    if prediction.shape != truth.shape or prediction.ndim != 3:
        raise ValueError(
            "prediction and truth must both be (N, H, W), got "
            f"{tuple(prediction.shape)} and {tuple(truth.shape)}"
        )
    if prediction.dtype != torch.bool or truth.dtype != torch.bool:
        raise ValueError(
            "prediction and truth must be bool (threshold logits at 0), got "
            f"{prediction.dtype} and {truth.dtype}"
        )
    return _Counts(
        intersection=(prediction & truth).sum(dim=(1, 2)),
        predicted=prediction.sum(dim=(1, 2)),
        true=truth.sum(dim=(1, 2)),
    )


def _ratio(numerator: Tensor, denominator: Tensor, empty: float) -> Tensor:
    quotient = numerator.double() / denominator.clamp(min=1).double()
    return torch.where(denominator > 0, quotient, empty)
