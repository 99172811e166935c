"""Evaluation protocols: named, versioned rules by which models are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from syncsam_lightning.interaction.feedback import Feedback
from syncsam_lightning.interaction.first_prompts import BoxRule, ClickRule
from syncsam_lightning.interaction.plan import EpisodePlan, FirstPrompt
from syncsam_lightning.interaction.replay import ReplayPolicy
from syncsam_lightning.interaction.simulated_user import SimulatedUser
from syncsam_lightning.prompts import BoxJitter, Prompts

Unit = Literal["mask", "class"]
"""What is prompted for and scored: each ``"mask"`` of the table, or all masks of one ``"class"`` on
an image together."""

MaskRule = Literal["area", "nearest_corner", "nearest_center"]
"""How an original mask becomes the one at the model's size, which clicks on errors and some first
prompts follow: ``"area"``: what covers half of a cell, as in training; ``"nearest_corner"``: the
pixel at a cell's upper left corner (OpenCV's nearest neighbour, SAM-Med2D);
``"nearest_center"``: the pixel at its centre (Pillow's, IMIS-Bench)."""

Averaging = Literal["masks", "images"]
"""How scores become one number: the mean over ``"masks"``, or over ``"images"`` of the mean over
what was scored on each."""


@dataclass(frozen=True, slots=True)
class EvaluationProtocol:
    """A fixed sequence of prompts; the answer of the last round is what is scored.

    The first prompt is a box without jitter, or one click on the object. Each correction is one
    click drawn uniformly from the error, with the previous answer as a dense prompt. All clicks are
    functions of the object's key, so a rerun repeats them as long as the model answers the same.
    Where no error is left, the click is padding (label -1) and the round is played all the same, so
    every object has the same number of rounds.

    Args:
        name: what users call it.
        version: raised whenever a change of the rules can change a score; reports state it.
        first: kind of the first prompt.
        corrections: rounds after it.
        feedback: how the previous answer is given back; None: as the model expects it.
        box_rule: what box of the object is drawn.
        click_rule: where on the object the first click lies.
        accumulate_points: whether a correction comes on top of all earlier clicks, or replaces
            them.
        unit: what is prompted for and scored.
        mask_rule: how masks come to the model's size.
        averaging: how scores become the protocol's one number.
        empty_dice: DSC and IoU of an empty prediction of an empty mask.
        decimals: to which each mask's DSC and IoU are rounded before they are averaged; None: not.
    """

    name: str
    version: int
    first: FirstPrompt
    corrections: int = 0
    feedback: Feedback | None = None
    box_rule: BoxRule = "tight"
    click_rule: ClickRule = "uniform"
    accumulate_points: bool = True
    unit: Unit = "mask"
    mask_rule: MaskRule = "area"
    averaging: Averaging = "masks"
    empty_dice: float = 1.0
    decimals: int | None = None

    @property
    def num_rounds(self) -> int:
        """How many rounds are played."""
        return 1 + self.corrections

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of prompts that a model must take, as in :attr:`InputSpec.prompts`."""
        first = {"box": {"boxes"}, "point": {"points"}}[self.first]
        return frozenset(first | {"points", "masks"} if self.corrections else first)

    @property
    def is_random(self) -> bool:
        """Whether another seed gives other prompts."""
        return self.first == "point" or self.corrections > 0

    def policy(self, feedback: Feedback = "logits") -> SimulatedUser:
        """Return the user who plays this protocol.

        Args:
            feedback: what the model expects; the protocol's own rule, if it has one, wins.
        """
        return SimulatedUser(
            plan=EpisodePlan(
                first=self.first,
                num_points=(0 if self.first == "box" else 1, *[1] * self.corrections),
                mask_only=(False,) * self.num_rounds,
            ),
            box_jitter=BoxJitter(rule="none"),
            feedback=self.feedback or feedback,
            accumulate_points=self.accumulate_points,
            box_rule=self.box_rule,
            click_rule=self.click_rule,
        )

    def replay(self, rounds: Sequence[Prompts], feedback: Feedback = "logits") -> ReplayPolicy:
        """Return a user who repeats recorded prompts under this protocol's feedback rule.

        Args:
            rounds: the prompts of each round; see :class:`ReplayPolicy`.
            feedback: see :meth:`policy`.

        Raises:
            PromptFileError: the number of rounds is not the protocol's, or see
                :class:`ReplayPolicy`.
        """
        return ReplayPolicy(
            rounds, feedback=self.feedback or feedback, expected_rounds=self.num_rounds
        )


def _family(
    prefix: str, versions: tuple[int, int, int], **rules: object
) -> tuple[EvaluationProtocol, ...]:
    """Return the three protocols that share rules: a box, one click, and four corrections of it."""
    steps: tuple[tuple[str, FirstPrompt, int], ...] = (
        ("box", "box", 0),
        ("1pt", "point", 0),
        ("5pts", "point", 4),
    )
    return tuple(
        EvaluationProtocol(prefix + name, version, first, corrections, **rules)  # type: ignore[arg-type]
        for version, (name, first, corrections) in zip(versions, steps, strict=True)
    )


PROTOCOLS: Mapping[str, EvaluationProtocol] = MappingProxyType(
    {
        protocol.name: protocol
        for protocol in (
            # Version 2 draws the first click at the original resolution, for all models alike; 3
            # corrects what is wrong of the mask by area.
            *_family("", (2, 2, 3), click_rule="decided"),
            # Version 2 takes OpenCV's pixels also where hardly any of an object is left.
            *_family(
                "sammed2d-",
                (2, 2, 2),
                mask_rule="nearest_corner",
                box_rule="largest_component",
                feedback="sigmoid",
                decimals=4,
            ),
            # Version 2 takes the pixels that Pillow takes.
            *_family(
                "imis-",
                (2, 2, 2),
                unit="class",
                mask_rule="nearest_center",
                box_rule="last_pixel",
                click_rule="central",
                accumulate_points=False,
                feedback="logits",
                empty_dice=0.0,
                averaging="images",
            ),
        )
    }
)
"""The protocols by name.

``box`` (tight box), ``1pt`` (one click) and ``5pts`` (one click, then four corrections) are this
framework's; with the prefix ``sammed2d-`` they follow the rules of SAM-Med2D's ``test.py``, with
``imis-`` those of IMIS-Bench's. ``docs/evaluation.md`` sets them side by side.
"""


def get_protocol(name: str) -> EvaluationProtocol:
    """Return the protocol of a name.

    Raises:
        ValueError: there is none; the message lists the names.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"unknown protocol {name!r}; choose from {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
