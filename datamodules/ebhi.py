"""EBHI-Seg: colorectal biopsies of six classes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import ClassVar

from syncsam_lightning.data.components import SmallestObject
from syncsam_lightning.data.image_pairs import (
    ObjectRule,
    Pair,
    PairLayout,
    pair_samples,
)
from syncsam_lightning.data.sources import Source
from syncsam_lightning.data.zero_shot import SMALLEST_SHARE, ZeroShotDataModule
from syncsam_lightning.records import DatasetCard, PublishedCounts, RawSample, Skipped

_SPECIMEN = re.compile(r"(?P<specimen>GT[A-Za-z]*\d+)-\d+-")

LAYOUT = PairLayout(image_folders=("image", "images"), mask_folders=("label", "labels"))

PAPER = ObjectRule(foreground_from=150, smallest=SmallestObject(SMALLEST_SHARE))
"""Components of what is 150 or brighter; exactly the smallest area is kept."""

RECOMMENDED = ObjectRule(
    foreground_from=128, smallest=SmallestObject(SMALLEST_SHARE), accepts_binary=True
)
"""As in the paper, with the threshold in the middle."""


class EBHI(ZeroShotDataModule):
    """Colorectal biopsies (EBHI-Seg); each component of a mask is an object of the folder's class.

    Images of two classes may have the same file name: they are told apart by their folders. In
    names such as ``GT2001837-1-400-001`` what stands before the first dash is the case.
    """

    card: ClassVar[DatasetCard] = DatasetCard(
        name="EBHI",
        description=(
            "Histology of colorectal biopsies, normal and of five stages of disease, with masks."
        ),
        homepage="https://figshare.com/articles/dataset/EBHI-SEG/21540159",
        license="not known to us: see its page",
        citation="EBHI-Seg, figshare 21540159",
        modalities=("pathology",),
        layout=(
            "EBHI-SEG/CLASS/image/NAME.png",
            "EBHI-SEG/CLASS/label/NAME.png    128 or 150 and brighter is foreground",
            "or the archive as downloaded",
        ),
        published=PublishedCounts(
            "pairs that a third party counted in the release", {"pathology": (2_228, None)}
        ),
    )

    def samples(self, source: Source) -> Iterator[RawSample | Skipped]:
        """Yield every image that has a mask."""
        yield from pair_samples(
            source,
            LAYOUT,
            PAPER if self.is_paper else RECOMMENDED,
            data_set=self.card.name,
            modality="pathology",
            label=lambda pair: PurePosixPath(pair.folder).name or "object",
            case=_case,
        )


def _case(pair: Pair) -> str:
    specimen = _SPECIMEN.match(pair.name)
    return specimen["specimen"] if specimen else pair.id
