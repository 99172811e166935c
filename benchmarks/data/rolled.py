"""The IMed-361M sample made larger by rolling, so that every row is another.

Repeats would flatter a table: equal payloads are stored once.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from syncsam_datamodules.imed361m import IMed361M

from syncsam_lightning.data.readers import resolve_image, resolve_mask
from syncsam_lightning.records import Loadable, NamedMask, RawSample, Skipped

NUM_IMAGES = 1000
_STEP = 7


class RolledIMed361M(IMed361M):
    """A thousand training images out of the sample's fifty."""

    def records(self, root: Path) -> Iterator[RawSample | Skipped]:
        """Yield the training images again and again, each time rolled further."""
        samples = [
            sample
            for sample in super().records(root)
            if isinstance(sample, RawSample) and sample.split == "train" and sample.masks
        ]
        for number in range(NUM_IMAGES):
            sample, shift = samples[number % len(samples)], _STEP * (number // len(samples))
            yield RawSample(
                id=f"{sample.id}-{number}",
                image=partial(_rolled_image, sample.image, shift),
                masks=[
                    NamedMask(mask.label, partial(_rolled_mask, mask.mask, shift))
                    for mask in sample.masks
                ],
                modality=sample.modality,
                source=sample.source,
                case=sample.case,
                split="train",
                path=sample.path,
            )


def _rolled_image(image: Loadable, shift: int) -> np.ndarray:
    return np.roll(resolve_image(image, ""), (shift, 3 * shift), (0, 1))


def _rolled_mask(mask: Loadable, shift: int) -> np.ndarray:
    return np.roll(resolve_mask(mask, ""), (shift, 3 * shift), (0, 1))
