"""A user who repeats recorded prompts, so that two models meet equal ones."""

from __future__ import annotations

from collections.abc import Sequence

from syncsam_lightning.errors import PromptFileError
from syncsam_lightning.interaction.feedback import Feedback, dense_prompt
from syncsam_lightning.interaction.rounds import Round
from syncsam_lightning.prompts import Prompts, Targets


class ReplayPolicy:
    """Gives recorded boxes and points again, bit for bit.

    What a user draws is replayed. What a model answers is not: from the second round on, the dense
    prompt is the previous answer of the model at hand, and recorded ``mask_logits`` are ignored.

    Args:
        rounds: the prompts of each round, in order, each holding all points that its round shows
            (earlier ones included). The objects are those of the targets, in the same order.
        feedback: how the previous answer is given back; None: not at all.
        expected_rounds: how many rounds there must be; None: any number.

    Raises:
        PromptFileError: there is no round or not the expected number, the rounds hold different
            numbers of objects, or a round would prompt with nothing.
    """

    def __init__(
        self,
        rounds: Sequence[Prompts],
        *,
        feedback: Feedback | None,
        expected_rounds: int | None = None,
    ) -> None:
        if expected_rounds is not None and len(rounds) != expected_rounds:
            raise PromptFileError(
                f"{len(rounds)} rounds are recorded, but {expected_rounds} are to be played; "
                "replay prompts with the protocol that they were recorded with"
            )
        if not rounds:
            raise PromptFileError("no round is recorded; record at least one")
        if len(counts := {prompts.num_objects for prompts in rounds}) > 1:
            raise PromptFileError(
                f"recorded rounds hold different numbers of objects: {sorted(counts)}"
            )
        for index, prompts in enumerate(rounds):
            has_feedback = index > 0 and feedback is not None
            if not has_feedback and not prompts.kinds & {"boxes", "points"}:
                raise PromptFileError(f"recorded round {index} has neither boxes nor points")
        self.rounds = tuple(rounds)
        self.feedback = feedback

    @property
    def num_rounds(self) -> int:
        """How many rounds are recorded."""
        return len(self.rounds)

    def next_prompts(self, targets: Targets, history: Sequence[Round]) -> Prompts:
        """Return the recorded prompts of round ``len(history)``; see :class:`Policy`.

        Raises:
            PromptFileError: prompts are recorded for another number of objects.
        """
        recorded = self.rounds[len(history)].to(targets.image_index.device)
        if recorded.num_objects != targets.num_objects:
            raise PromptFileError(
                f"prompts are recorded for {recorded.num_objects} objects, but "
                f"{targets.num_objects} are to be prompted"
            )
        mask = None
        if history and self.feedback is not None:
            mask = dense_prompt(history[-1].logits, self.feedback)
        return Prompts(
            targets.image_index,
            boxes=recorded.boxes,
            points=recorded.points,
            point_labels=recorded.point_labels,
            mask_logits=mask,
        )
