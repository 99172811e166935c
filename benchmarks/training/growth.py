"""How time and memory of a training step grow with images, masks, rounds and image size."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from benchmarks.training.law import polynomial
from benchmarks.training.memory import GIB, peak_bytes
from benchmarks.training.report import Amount, Line
from benchmarks.training.setting import Setting
from benchmarks.training.step import training_step
from benchmarks.training.timing import in_turns
from syncsam_lightning.interaction import TrainingEpisode

TIME, MEMORY = "time", "memory"
_SIDE = "side"
# Work per token, and attention's per pair of tokens.
_TOKENS, _UNIT_SIDE = "(side/256)²", 256


@dataclass(frozen=True)
class Case:
    """One step; ``quantity`` is what it differs in from the others of its kind."""

    quantity: str
    images: int = 1
    masks: int = 1
    rounds: int = 1
    side: int = 256

    @property
    def amount(self) -> Amount:
        """How much there is of the quantity."""
        return Amount(self.quantity, getattr(self, self.quantity))


def measure_growth(setting: Setting) -> list[Line]:
    """Measure training steps in float32, each quantity in turn, and fit a law to each."""
    lines: list[Line] = []
    for quantity, cases in _cases(setting).items():
        measured = [line for case in cases for line in _measure(setting, case)]
        lines += [*measured, *_laws(quantity, measured)]
    return lines


def _measure(setting: Setting, case: Case) -> Iterator[Line]:
    model = setting.model(image_size=case.side).train()
    episode = TrainingEpisode(iterations=case.rounds - 1, box_probability=1.0)
    batch = setting.batch(case.images, case.masks, case.side)
    step = training_step(setting, model, batch, episode, torch.float32)
    name = f"{case.quantity} {case.amount.value}"
    seconds = in_turns({name: step}, setting.repeats)[name]
    yield Line(f"{name}: {TIME}", seconds, "s", amount=case.amount)
    memory = peak_bytes(step, setting.device) / GIB
    yield Line(f"{name}: {MEMORY}", [memory], "GiB", amount=case.amount)


def _laws(quantity: str, lines: list[Line]) -> Iterator[Line]:
    """Yield the law of time and of memory, its value being how far off it is at most."""
    for what, unit in ((TIME, "s"), (MEMORY, "GiB")):
        measured = [line for line in lines if line.amount and line.unit == unit]
        amounts = [line.amount.value for line in measured if line.amount]
        values = [statistics.median(line.values) for line in measured]
        if quantity == _SIDE:
            tokens = [(side / _UNIT_SIDE) ** 2 for side in amounts]
            law = polynomial(_TOKENS, tokens, values, degree=2 if what == TIME else 1)
        else:
            law = polynomial(quantity, amounts, values, degree=1)
        yield Line(f"{what} = {law.text}, in {unit}; off by", [100 * law.deviation], "%")


def _cases(setting: Setting) -> dict[str, list[Case]]:
    """Return, for each quantity, the steps that differ in it, the others at their smallest."""
    if setting.tiny:
        images, masks, rounds, sides = (1, 2), (1, 2), (1, 2), (64, 96, 128)
    else:
        images, masks, rounds, sides = (
            (1, 2, 4, 8, 16),
            (1, 5, 10, 20),
            (1, 3, 5, 9),
            (256, 384, 512, 768, 1024),
        )
    side = setting.side
    return {
        "images": [Case("images", images=n, side=side) for n in images],
        "masks": [Case("masks", masks=n, side=side) for n in masks],
        "rounds": [Case("rounds", masks=5, rounds=n, side=side) for n in rounds],
        _SIDE: [Case(_SIDE, side=n) for n in sides],
    }
