"""Evaluation protocols: named, versioned rules by which models are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from syncsam_lightning.interaction.feedback import Feedback
from syncsam_lightning.interaction.plan import EpisodePlan, FirstPrompt
from syncsam_lightning.interaction.replay import ReplayPolicy
from syncsam_lightning.interaction.simulated_user import SimulatedUser
from syncsam_lightning.prompts import BoxJitter, Prompts


@dataclass(frozen=True, slots=True)
class EvaluationProtocol:
    """A fixed sequence of prompts; the answer of the last round is what is scored.

    The first prompt is the tight box, or one click drawn uniformly from the object. Each correction
    is one click drawn uniformly from the error, on top of all earlier clicks, with the previous
    answer as a dense prompt. All clicks are functions of the object's key, so a rerun repeats them
    as long as the model answers the same. Where no error is left, the click is padding (label -1)
    and the round is played all the same, so every object has the same number of rounds.

    Args:
        name: what users call it.
        version: raised whenever a change of the rules can change a score; reports state it.
        first: kind of the first prompt.
        corrections: rounds after it.
        feedback: how the previous answer is given back.
    """

    name: str
    version: int
    first: FirstPrompt
    corrections: int = 0
    feedback: Feedback = "logits"

    @property
    def num_rounds(self) -> int:
        """How many rounds are played."""
        return 1 + self.corrections

    def policy(self) -> SimulatedUser:
        """Return the user who plays this protocol."""
        return SimulatedUser(
            plan=EpisodePlan(
                first=self.first,
                num_points=(0 if self.first == "box" else 1, *[1] * self.corrections),
                mask_only=(False,) * self.num_rounds,
            ),
            box_jitter=BoxJitter(rule="none"),
            feedback=self.feedback,
            accumulate_points=True,
        )

    def replay(self, rounds: Sequence[Prompts]) -> ReplayPolicy:
        """Return a user who repeats recorded prompts under this protocol's feedback rule.

        Args:
            rounds: the prompts of each round; see :class:`ReplayPolicy`.

        Raises:
            PromptFileError: the number of rounds is not the protocol's, or see
                :class:`ReplayPolicy`.
        """
        return ReplayPolicy(rounds, feedback=self.feedback, expected_rounds=self.num_rounds)


PROTOCOLS: Mapping[str, EvaluationProtocol] = MappingProxyType(
    {
        protocol.name: protocol
        for protocol in (
            EvaluationProtocol("box", version=1, first="box"),
            EvaluationProtocol("1pt", version=1, first="point"),
            EvaluationProtocol("5pts", version=1, first="point", corrections=4),
        )
    }
)
"""The protocols by name: ``box`` (tight box), ``1pt`` (one click), ``5pts`` (one click, then four
corrections)."""


def get_protocol(name: str) -> EvaluationProtocol:
    """Return the protocol of a name.

    Raises:
        ValueError: there is none; the message lists the names.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"unknown protocol {name!r}; choose from {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
