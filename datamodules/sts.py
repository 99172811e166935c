"""STS: panoramic X-rays of teeth."""

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
from syncsam_lightning.records import DatasetCard, PublishedCounts, RawSample, Skipped

LAYOUT = PairLayout(image_folders=("image", "images"), mask_folders=("mask", "masks"))

PAPER = ObjectRule(foreground_from=150, smallest=SmallestObject(SMALLEST_SHARE))
"""Components of what is 150 or brighter; exactly the smallest area is kept."""

RECOMMENDED = ObjectRule(
    foreground_from=128, smallest=SmallestObject(SMALLEST_SHARE), accepts_binary=True
)
"""As in the paper, with the threshold in the middle, where a resampled edge lies."""


class STS(ZeroShotDataModule):
    """Panoramic X-rays (2D part of STS); each component of a mask is a tooth, or teeth that touch.

    Images without a mask, as most of the release are, are listed.
    """

    card: ClassVar[DatasetCard] = DatasetCard(
        name="STS",
        description="Panoramic dental X-rays of adults and children with masks of the teeth.",
        homepage="https://zenodo.org/records/10597292",
        license="CC-BY-4.0 (told by a third party)",
        citation="STS-2D-Tooth, Scientific Data 12:117, 2025",
        modalities=("x_ray",),
        layout=(
            "ANY/image/NAME.png    or images/",
            "ANY/mask/NAME.png     or masks/; 128 or 150 and brighter is tooth",
            "or the archive as downloaded",
        ),
        published=PublishedCounts(
            "a third party's card of STS-2D-Tooth, labelled images", {"x_ray": (900, None)}
        ),
    )

    def samples(self, source: Source) -> Iterator[RawSample | Skipped]:
        """Yield every X-ray that has a mask."""
        yield from pair_samples(
            source,
            LAYOUT,
            PAPER if self.is_paper else RECOMMENDED,
            data_set=self.card.name,
            modality="x_ray",
            label=lambda pair: "tooth",
            case=lambda pair: pair.id,
        )
