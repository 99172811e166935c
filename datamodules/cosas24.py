"""COSAS24: tumour regions on microscopy of several organs and scanners."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from syncsam_lightning.data.components import SmallestObject
from syncsam_lightning.data.image_pairs import (
    ObjectRule,
    PairLayout,
    pair_samples,
)
from syncsam_lightning.data.sources import Source
from syncsam_lightning.data.zero_shot import SMALLEST_SHARE, ZeroShotDataModule
from syncsam_lightning.records import DatasetCard, RawSample, Skipped

LAYOUT = PairLayout(image_folders=("image", "images"), mask_folders=("mask", "masks"))

PAPER = ObjectRule(foreground_from=1)
"""Components of all that isn't 0, of any size."""

RECOMMENDED = ObjectRule(
    foreground_from=128, smallest=SmallestObject(SMALLEST_SHARE), accepts_binary=True
)
"""Without specks, which would count as much as tumours; 0/1 and 0/255 are the same."""


class COSAS24(ZeroShotDataModule):
    """Adenocarcinoma on histology; each component of a mask is an object.

    Both tasks of the challenge (cross-organ, cross-scanner) are read, whichever are there: point
    ``root`` at one of them to measure it alone. The later revision of the release in ``.mha`` is
    not read; its files are listed.
    """

    card: ClassVar[DatasetCard] = DatasetCard(
        name="COSAS24",
        description="Histology of several organs and scanners with masks of adenocarcinoma.",
        homepage="https://cosas.grand-challenge.org",
        license="CC BY-NC-ND (the challenge's rules)",
        modalities=("microscopy",),
        layout=(
            "ANY/DOMAIN/image/NAME.png    or images/",
            "ANY/DOMAIN/mask/NAME.png     or masks/; 0 is background",
            "or the archives as downloaded",
        ),
    )

    def samples(self, source: Source) -> Iterator[RawSample | Skipped]:
        """Yield every image that has a mask."""
        yield from pair_samples(
            source,
            LAYOUT,
            PAPER if self.is_paper else RECOMMENDED,
            data_set=self.card.name,
            modality="microscopy",
            label=lambda pair: "adenocarcinoma",
            case=lambda pair: pair.id,
        )
