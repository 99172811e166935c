"""How training simulates a user."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from syncsam_lightning.interaction.feedback import Feedback
from syncsam_lightning.interaction.plan import EpisodePlan
from syncsam_lightning.interaction.simulated_user import SimulatedUser
from syncsam_lightning.prompts import BoxJitter
from syncsam_lightning.seeding import numpy_generator

Schedule = Literal["joint", "per_round"]


@dataclass(frozen=True)  # no slots: jsonargparse reads defaults from __dict__
class TrainingEpisode:
    """The rules of a training episode: a first prompt, then rounds of corrections.

    A box or one click on the object comes first. Then come ``iterations`` rounds with clicks on the
    error and the previous answer as a dense prompt; one random middle round (neither the first nor
    the last of them) and the last one get the previous answer alone. This is SAM-Med2D's scheme,
    which SyncSAM follows.

    Args:
        iterations: rounds after the first prompt.
        points_per_round: the numbers of clicks that each round draws from, all equally likely.
        box_probability: how often the first prompt of a batch is a box rather than a click.
        box_jitter: how far off that box is.
        feedback: the previous answer as ``"logits"`` (SAM) or through a ``"sigmoid"`` (SAM-Med2D).
        schedule: ``"joint"``, one backward pass over the mean loss of all rounds, or
            ``"per_round"``, an optimiser step for each round (SAM-Med2D). The training module acts
            on it; the prompts are drawn by the same rules.
        accumulate_points: whether clicks of earlier rounds are shown again.
        mask_only_rounds: whether the middle and last round get the previous answer alone. With two
            iterations there is no middle one; a single iteration always gets clicks.

    Raises:
        ValueError: a value is out of range, or two settings make each other meaningless.
    """

    iterations: int = 8
    points_per_round: tuple[int, ...] = (1, 3, 5, 9)
    box_probability: float = 0.5
    box_jitter: BoxJitter = field(default_factory=BoxJitter)
    feedback: Feedback = "logits"
    schedule: Schedule = "joint"
    accumulate_points: bool = False
    mask_only_rounds: bool = True

    def __post_init__(self) -> None:
        if self.iterations < 0:
            raise ValueError(f"iterations must be 0 or more, got {self.iterations}")
        if not 0 <= self.box_probability <= 1:
            raise ValueError(f"box_probability must be within [0, 1], got {self.box_probability}")
        if any(num < 1 for num in self.points_per_round):
            raise ValueError(
                f"points_per_round must hold numbers of 1 or more, got {self.points_per_round}"
            )
        if self.feedback not in (rules := get_args(Feedback)):
            raise ValueError(f"feedback must be one of {', '.join(rules)}, got {self.feedback!r}")
        if self.schedule not in (schedules := get_args(Schedule)):
            raise ValueError(
                f"schedule must be one of {', '.join(schedules)}, got {self.schedule!r}"
            )
        self._check_combinations()

    def _check_combinations(self) -> None:
        if self.iterations > 0 and not self.points_per_round:
            raise ValueError(
                f"points_per_round is empty, but iterations={self.iterations} rounds draw from it; "
                "name at least one number, or set iterations to 0"
            )
        if self.iterations == 0 and self.accumulate_points:
            raise ValueError(
                "accumulate_points needs iterations of 1 or more: without a second round no point "
                "can be shown again"
            )
        if self.iterations == 0 and self.schedule == "per_round":
            raise ValueError(
                "schedule 'per_round' needs iterations of 1 or more: with a single round it is "
                "'joint'"
            )

    def plan(self, batch_key: int) -> EpisodePlan:
        """Decide everything that the objects of a batch have in common.

        Args:
            batch_key: the plan is a pure function of it. Ranks that train together should give one
                key per step, so that they all play the same rounds.
        """
        generator = numpy_generator("episode", batch_key)
        # Drawn in full whatever the settings, so that changing one leaves the others' draws alone.
        coin, middle_draw = generator.random(2)
        first_is_box = bool(coin < self.box_probability)
        num_points = [0 if first_is_box else 1]
        if self.iterations:
            choices = generator.integers(len(self.points_per_round), size=self.iterations)
            num_points += [self.points_per_round[choice] for choice in choices]
        mask_only = [False] * (1 + self.iterations)
        if self.mask_only_rounds and self.iterations >= 2:
            mask_only[-1] = True
        if self.mask_only_rounds and self.iterations >= 3:
            mask_only[2 + int(middle_draw * (self.iterations - 2))] = True
        return EpisodePlan(
            first="box" if first_is_box else "point",
            num_points=tuple(
                0 if alone else num for num, alone in zip(num_points, mask_only, strict=True)
            ),
            mask_only=tuple(mask_only),
        )

    def policy(self, batch_key: int) -> SimulatedUser:
        """Return the user who plays :meth:`plan` of the same key."""
        return SimulatedUser(
            plan=self.plan(batch_key),
            box_jitter=self.box_jitter,
            feedback=self.feedback,
            accumulate_points=self.accumulate_points,
        )
