"""When an object ends, on the way from slice to slice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class StopRule:
    """Ends a propagation where the next mask no longer looks like the same object.

    Without it a model draws something on every slice: a box always has something in it. The mask
    that breaks a rule is not kept.

    Args:
        min_pixels: a smaller mask counts as empty.
        max_area_change: how many times larger or smaller than on the slice before a mask may be.
        min_score: least stability score (see
            :class:`~syncsam_lightning.prediction.Prediction`) of a mask; 0 switches it off.
        min_overlap: least share of the smaller of two neighbouring masks that lies in the other
            (the overlap coefficient): what jumps to a neighbour may have its size, but not its
            place. 0 switches it off.

    Raises:
        ValueError: a value is out of range.
    """

    min_pixels: int = 4
    max_area_change: float = 4.0
    min_score: float = 0.5
    min_overlap: float = 0.5

    def __post_init__(self) -> None:
        if self.min_pixels < 1:
            raise ValueError(f"min_pixels must be 1 or more, got {self.min_pixels}")
        if not self.max_area_change > 1:
            raise ValueError(f"max_area_change must be above 1, got {self.max_area_change}")
        for name in ("min_score", "min_overlap"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be within [0, 1], got {getattr(self, name)}")

    def reason(self, before: np.ndarray, after: np.ndarray, score: float) -> str | None:
        """Say why the object ends before the slice of ``after``; None: it goes on.

        Args:
            before: ``(H, W)`` bool, the mask on the slice that was done last.
            after: ``(H, W)`` bool, the mask on the next slice.
            score: stability score of ``after``.
        """
        old, new = int(before.sum()), int(after.sum())
        if new < self.min_pixels:
            return "the mask is empty" if new == 0 else f"the mask has {new} pixels"
        if new > old * self.max_area_change:
            return f"the area grew {new / old:.1f} times"
        if new * self.max_area_change < old:
            return f"the area shrank {old / new:.1f} times"
        if score < self.min_score:
            return f"the score fell to {score:.2f}"
        overlap = int((before & after).sum()) / min(old, new)
        if overlap < self.min_overlap:
            return f"only {overlap:.0%} of the smaller mask lies in the one beside it"
        return None
