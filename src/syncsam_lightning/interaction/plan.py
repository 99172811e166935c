"""What a simulated user will do, round by round, before anything has been seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FirstPrompt = Literal["box", "point"]


@dataclass(frozen=True, slots=True)
class EpisodePlan:
    """The script of the rounds that all objects of a batch share.

    Args:
        first: kind of prompt of round 0.
        num_points: new points in each round. Round 0 has 1 or, with a box, 0; a mask-only round
            has 0.
        mask_only: for each round, whether the previous mask is its only prompt. Never in round 0.

    Raises:
        ValueError: the lengths differ, or a round would have no prompt or a contradictory one.
    """

    first: FirstPrompt
    num_points: tuple[int, ...]
    mask_only: tuple[bool, ...]

    def __post_init__(self) -> None:
        if not self.num_points or len(self.num_points) != len(self.mask_only):
            raise ValueError(
                "num_points and mask_only must have one entry per round, got "
                f"{len(self.num_points)} and {len(self.mask_only)}"
            )
        expected = 0 if self.first == "box" else 1
        if self.num_points[0] != expected or self.mask_only[0]:
            raise ValueError(
                f"round 0 with first={self.first!r} must have num_points {expected} and not be "
                f"mask_only, got num_points {self.num_points[0]}, mask_only {self.mask_only[0]}"
            )
        for index in range(1, self.num_rounds):
            if self.mask_only[index] != (self.num_points[index] == 0):
                raise ValueError(
                    f"round {index} must have either num_points or mask_only, got num_points "
                    f"{self.num_points[index]}, mask_only {self.mask_only[index]}"
                )

    @property
    def num_rounds(self) -> int:
        """How many rounds there are, the first prompt included."""
        return len(self.num_points)
