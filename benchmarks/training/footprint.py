"""Peak memory of a training step against batch size and options, and what a larger one takes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benchmarks.training.memory import GIB, peak_bytes
from benchmarks.training.report import Line
from benchmarks.training.setting import Setting
from benchmarks.training.step import training_step
from syncsam_lightning.interaction import TrainingEpisode

_OPTIONS: tuple[tuple[str, ...], ...] = (
    (),
    ("vit",),
    ("cnn",),
    ("decoder",),
    ("vit", "cnn", "decoder"),
)
# The paper's batch (section 3): 50 images with 5 masks each; nine rounds are an episode's most.
_PAPER_IMAGES, _PAPER_MASKS, _PAPER_ROUNDS = 50, 5, (1, 9)


@dataclass(frozen=True)
class Footprint:
    """What a step takes, in bytes: per image, per mask, and per mask and round."""

    fixed: float
    per_image: float
    per_mask: float
    per_answer: float

    def total(self, images: int, masks: int, rounds: int) -> float:
        """Return the bytes of a step with ``masks`` per image."""
        per_mask = self.per_mask + rounds * self.per_answer
        return self.fixed + images * (self.per_image + masks * per_mask)


def measure_footprint(setting: Setting) -> list[Line]:
    """Measure steps with each way of recomputing; calculate the paper's batch from them.

    How good the calculation is shows a step that it wasn't made from.
    """
    lines = []
    images, masks, rounds = (2, 2, 2) if setting.tiny else (4, 5, 3)
    for recompute in _OPTIONS:
        name = "recompute " + ("nothing" if not recompute else "[" + ", ".join(recompute) + "]")
        found = _footprint(setting, recompute)
        larger = _peak(setting, recompute, images, masks, rounds)
        wrong = 100 * (found.total(images, masks, rounds) / larger - 1)
        lines += [
            Line(f"{name}: per image", [found.per_image / GIB], "GiB"),
            Line("  per mask", [found.per_mask / GIB], "GiB"),
            Line("  per mask and round", [found.per_answer / GIB], "GiB"),
            Line(f"  {images} images x {masks} masks, {rounds} rounds", [larger / GIB], "GiB"),
            Line("  the same, calculated: off by", [wrong], "%"),
        ]
        lines += [
            Line(
                f"  {_PAPER_IMAGES} images x {_PAPER_MASKS} masks, {n} rounds, calculated",
                [found.total(_PAPER_IMAGES, _PAPER_MASKS, n) / GIB],
                "GiB",
            )
            for n in _PAPER_ROUNDS
        ]
    return lines


def _footprint(setting: Setting, recompute: tuple[str, ...]) -> Footprint:
    """Return the four unknowns of four steps."""
    few, more_images, more_masks, more_rounds = (
        _peak(setting, recompute, images, masks, rounds)
        for images, masks, rounds in ((2, 5, 1), (4, 5, 1), (2, 15, 1), (2, 5, 3))
    )
    per_answer = (more_rounds - few) / (2 * 5 * 2)
    per_mask = (more_masks - few) / (2 * 10) - per_answer
    per_image = (more_images - few) / 2 - 5 * (per_mask + per_answer)
    fixed = few - 2 * (per_image + 5 * (per_mask + per_answer))
    return Footprint(fixed, per_image, per_mask, per_answer)


def _peak(
    setting: Setting, recompute: tuple[str, ...], images: int, masks: int, rounds: int
) -> float:
    model = setting.model(recompute=recompute).train()
    episode = TrainingEpisode(iterations=rounds - 1, box_probability=1.0)
    step = training_step(setting, model, setting.batch(images, masks), episode, torch.float32)
    step()  # Adam's moments are there from the first step on
    return peak_bytes(step, setting.device)
