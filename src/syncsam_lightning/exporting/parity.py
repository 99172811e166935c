"""How far the answers of an exported model are from those of the model itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from syncsam_lightning.models import PromptableModel
from syncsam_lightning.prompts import Prompts
from syncsam_lightning.seeding import stable_key

TOLERANCE = 1e-3
"""Largest relative difference ‖a - b‖ / ‖b‖ of an export that is kept."""

# (images, objects, points): none of them the sizes of the example that was traced.
_SHAPES = ((1, 1, 1), (2, 5, 3), (3, 4, 9))
_KINDS = (("boxes",), ("points",), ("boxes", "points"), ("points", "masks"), ("boxes", "masks"))


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest relative difference that was found.

    Args:
        value: ‖a - b‖ / ‖b‖.
        where: what was compared there; empty if no answers differ.
        comparisons: how many answers were compared.
    """

    value: float
    where: str
    comparisons: int

    def __str__(self) -> str:
        if self.value == 0:
            return f"0 ({self.comparisons} answers compared, all equal)"
        return f"{self.value:.1e} at most, in {self.where} ({self.comparisons} answers compared)"


@torch.no_grad()
def largest_difference(exported: PromptableModel, model: PromptableModel) -> Difference:
    """Compare two models on made-up images and prompts of every kind that the second one takes.

    Numbers of images, objects and points vary, and each decoder gets its own encoder's features.

    Args:
        exported: to be judged; on the CPU.
        model: to be judged by; in eval mode, on the CPU.
    """
    worst, where, count = 0.0, "", 0
    spec = model.input_spec
    for images, objects, points in _SHAPES:
        generator = torch.Generator().manual_seed(stable_key("parity", images, objects, points))
        pixels = _picture(images, spec.size, generator)
        sizes = torch.tensor(
            [spec.plan(spec.size - 16 * i % spec.size, spec.size).resized for i in range(images)]
        )
        theirs, ours = exported.encode(pixels, sizes), model.encode(pixels, sizes)
        compared = [("embedding", theirs.embedding, ours.embedding)]
        if ours.multi_scale is not None and theirs.multi_scale is not None:
            compared.append(("multi-scale map", theirs.multi_scale, ours.multi_scale))
        for kinds, prompts in _prompts(model, images, objects, points, generator):
            answers = exported.decode(theirs, prompts), model.decode(ours, prompts)
            compared.append((f"logits for {' and '.join(kinds)}", *answers))
        for name, found, expected in compared:
            count += 1
            value = _relative(found, expected)
            # Not `>`: a NaN is the worst of all.
            if not value <= worst:
                worst = value
                where = f"{name}, {images} images, {objects} objects, {points} points"
    return Difference(worst, where, count)


def _picture(images: int, side: int, generator: torch.Generator) -> Tensor:
    """Return ``(B, 3, S, S)`` in 0..255, smooth as photographs are."""
    coarse = 255 * torch.rand(images, 3, 8, 8, generator=generator)
    return torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear")


def _prompts(
    model: PromptableModel, images: int, objects: int, points: int, generator: torch.Generator
) -> Iterator[tuple[tuple[str, ...], Prompts]]:
    spec = model.input_spec
    corners = torch.rand(objects, 2, 2, generator=generator).sort(1).values * (spec.size - 1)
    everything = {
        "boxes": {"boxes": corners.flatten(1)},
        "points": {
            "points": torch.rand(objects, points, 2, generator=generator) * (spec.size - 1),
            "point_labels": torch.randint(0, 2, (objects, points), generator=generator),
        },
        "masks": {
            "mask_logits": 4
            * torch.randn(objects, spec.mask_size, spec.mask_size, generator=generator)
        },
    }
    image_index = torch.arange(objects) % images
    for kinds in _KINDS:
        if spec.prompts.issuperset(kinds):
            given = {name: value for kind in kinds for name, value in everything[kind].items()}
            yield kinds, Prompts(image_index, **given)


def _relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm().clamp(min=1e-12))
