"""The simulated user, who corrects a model by clicking on what it got wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from syncsam_lightning.interaction.feedback import Feedback, dense_prompt, predicted_masks
from syncsam_lightning.interaction.plan import EpisodePlan
from syncsam_lightning.interaction.rounds import Round
from syncsam_lightning.prompts import (
    BoxJitter,
    Clicks,
    Prompts,
    Targets,
    correction_clicks,
    foreground_clicks,
    jitter_boxes,
)


@dataclass(frozen=True, slots=True)
class SimulatedUser:
    """A policy that plays a plan; training and evaluation differ in their plans only.

    Round 0 gives a box or a click on the object. Each later round gives the previous answer as a
    dense prompt and, unless the plan says mask only, clicks on the error; the box is not repeated.
    All draws of round k have draw number k, and depend on nothing else but the object's key.

    Where an object has nothing to click on (no error left, or an empty mask), its points are
    padding, label -1: the model is asked again with what it was told before.

    Args:
        plan: what to do in which round.
        box_jitter: how far off the box is.
        feedback: how the previous answer is given back.
        accumulate_points: whether a round's clicks come on top of all earlier ones. They outlive
            a mask-only round, which itself shows none.
    """

    plan: EpisodePlan
    box_jitter: BoxJitter
    feedback: Feedback
    accumulate_points: bool

    @property
    def num_rounds(self) -> int:
        """How many rounds the user plays."""
        return self.plan.num_rounds

    def next_prompts(self, targets: Targets, history: Sequence[Round]) -> Prompts:
        """Decide the prompts of round ``len(history)``; see :class:`Policy`."""
        index = len(history)
        if index == 0:
            return self._first_prompts(targets)
        answer = history[-1].logits
        clicks = None
        if not self.plan.mask_only[index]:
            clicks = correction_clicks(
                targets.masks,
                predicted_masks(answer, targets.masks.shape[-1]),
                targets.keys,
                draw=index,
                num=self.plan.num_points[index],
                sizes=targets.sizes,
                image_index=targets.image_index,
                origins=targets.origins,
            )
            if self.accumulate_points:
                clicks = _on_top(clicks, history)
        return Prompts(
            targets.image_index,
            points=None if clicks is None else clicks.points,
            point_labels=None if clicks is None else clicks.labels,
            mask_logits=dense_prompt(answer, self.feedback),
        )

    def _first_prompts(self, targets: Targets) -> Prompts:
        if self.plan.first == "point":
            clicks = foreground_clicks(targets.masks, targets.keys, draw=0)
            return Prompts(targets.image_index, points=clicks.points, point_labels=clicks.labels)
        boxes = jitter_boxes(
            targets.boxes,
            targets.keys,
            self.box_jitter,
            draw=0,
            side=targets.masks.shape[-1],
            sizes=targets.sizes,
            image_index=targets.image_index,
            origins=targets.origins,
        )
        return Prompts(targets.image_index, boxes=boxes)


def _on_top(clicks: Clicks, history: Sequence[Round]) -> Clicks:
    for earlier in reversed(history):
        if earlier.prompts.points is not None:
            return clicks.after(earlier.prompts.points, earlier.prompts.point_labels)
    return clicks
