"""KPIs: glomeruli on patches of kidney slides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
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

LAYOUT = PairLayout(("img",), ("mask",), image_ending="_img", mask_ending="_mask")

PAPER = ObjectRule(foreground_from=150, smallest=SmallestObject(SMALLEST_SHARE))
"""Components of what is 150 or brighter; exactly the smallest area is kept."""

RECOMMENDED = ObjectRule(
    foreground_from=128, smallest=SmallestObject(SMALLEST_SHARE), accepts_binary=True
)
"""As in the paper, with the threshold in the middle: JPEG blurs the masks evenly at their edges."""


class KPIs(ZeroShotDataModule):
    """Patches of PAS-stained kidney slides; each component of a mask is a glomerulus.

    All parts (train, validation, test) and groups that lie in ``root`` are read: point it at one of
    them to measure it alone. Slides are cases.
    """

    card: ClassVar[DatasetCard] = DatasetCard(
        name="KPIs",
        description="Patches of whole kidney slides of mice with masks of the glomeruli.",
        homepage="https://www.synapse.org/Synapse:syn54077668",
        license="not known to us: see its page",
        citation="KPIs 2024 challenge, arXiv:2502.07288",
        modalities=("pathology",),
        layout=(
            "ANY/GROUP/SLIDE/img/NAME_img.jpg",
            "ANY/GROUP/SLIDE/mask/NAME_mask.jpg    grey; 128 or 150 and brighter is glomerulus",
            "or the archives as downloaded",
        ),
    )

    def samples(self, source: Source) -> Iterator[RawSample | Skipped]:
        """Yield every patch that has a mask."""
        yield from pair_samples(
            source,
            LAYOUT,
            PAPER if self.is_paper else RECOMMENDED,
            data_set=self.card.name,
            modality="pathology",
            label=lambda pair: "glomerulus",
            case=lambda pair: PurePosixPath(pair.folder).name or pair.name,
        )
