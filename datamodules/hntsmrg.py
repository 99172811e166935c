"""HNTS-MRG 2024: T2-weighted MR of head and neck tumours before radiotherapy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from syncsam_lightning.data.components import SmallestObject
from syncsam_lightning.data.label_volumes import LabelFile, Labels, SliceRule
from syncsam_lightning.data.slices import LabelledVolume
from syncsam_lightning.data.sources import Entry, Source
from syncsam_lightning.data.volume_files import VolumeFile
from syncsam_lightning.data.zero_shot import SMALLEST_SHARE
from syncsam_lightning.data.zero_shot_volumes import ZeroShotVolumes
from syncsam_lightning.errors import DatasetNotFoundError
from syncsam_lightning.records import DatasetCard, Skipped
from syncsam_lightning.volumes import Window

PRIMARY, NODES = 1, 2
NAMES = {PRIMARY: "primary tumour", NODES: "lymph nodes"}
"""The usual coding: GTVp and GTVn."""

PAPER = SliceRule(
    window=Window(rule="minmax_slice"),
    plane="stored",
    smallest=SmallestObject(SMALLEST_SHARE, inclusive=False),
)
"""All of the primary tumour on a slice is one object; its area has to exceed the threshold."""

RECOMMENDED = SliceRule(
    window=Window(rule="percentiles"),
    plane="axial",
    smallest=SmallestObject(SMALLEST_SHARE),
    by_component=True,
)
"""Primary tumour and nodes, each component an object; slices of a volume are equally bright."""

_FILE = re.compile(r"(?P<case>.+)_preRT_(?P<kind>T2|mask)\.nii(?:\.gz)?")


class HNTSMRG(ZeroShotVolumes):
    """Slices of the scans before radiotherapy; those of midRT and the registered ones are not read.

    Under ``paper``, label 2 (lymph nodes) is left out.
    """

    paper: ClassVar[SliceRule] = PAPER
    recommended: ClassVar[SliceRule] = RECOMMENDED
    card: ClassVar[DatasetCard] = DatasetCard(
        name="HNTSMRG",
        description="T2-weighted MR of 150 patients with head and neck tumours, with the tumours.",
        homepage="https://zenodo.org/records/11199559",
        license="not known to us: see its page",
        citation="HNTS-MRG 2024 challenge, https://hntsmrg24.grand-challenge.org",
        modalities=("mr",),
        layout=(
            "ANY/CASE/preRT/CASE_preRT_T2.nii.gz",
            "ANY/CASE/preRT/CASE_preRT_mask.nii.gz    1 primary tumour, 2 lymph nodes",
            "or the archive as downloaded",
        ),
    )

    def volumes(self, source: Source) -> Iterator[LabelledVolume | Skipped]:
        """Yield the scans, patient by patient."""
        files, skipped = _find_files(source)
        images, masks = files["T2"], files["mask"]
        if not images or not masks:
            raise DatasetNotFoundError(
                f"no {self.card.name} in {source.where('')}: found {len(images)} files "
                f"CASE_preRT_T2.nii.gz and {len(masks)} files CASE_preRT_mask.nii.gz"
            )
        yield from skipped
        for case in sorted(images.keys() | masks.keys()):
            if case not in masks:
                path = source.where(images[case].name)
                reason = f"there is no {case}_preRT_mask.nii.gz"
                yield Skipped(path, reason, "image without mask", self.card.name)
            elif case not in images:
                path = source.where(masks[case].name)
                reason = f"there is no {case}_preRT_T2.nii.gz"
                yield Skipped(path, reason, "mask without image", self.card.name)
            else:
                yield self._volume(case, source, images[case], masks[case])

    def _volume(self, case: str, source: Source, image: Entry, mask: Entry) -> LabelledVolume:
        file = VolumeFile.of(source, mask)
        unused = frozenset({NODES}) if self.is_paper else frozenset[int]()
        return LabelledVolume(
            id=f"{self.card.name}/{case}",
            case=case,
            image=VolumeFile.of(source, image),
            labels=[Labels(LabelFile(file), file.path, NAMES.get, unused)],
            modality="mr",
            source=self.card.name,
        )


def _find_files(source: Source) -> tuple[dict[str, dict[str, Entry]], list[Skipped]]:
    """Return the files before radiotherapy by kind and case, and what cannot be used."""
    files: dict[str, dict[str, Entry]] = {"T2": {}, "mask": {}}
    skipped: list[Skipped] = []
    for entry in source.entries():
        if isinstance(entry, Skipped):
            skipped.append(entry)
            continue
        name = _FILE.fullmatch(entry.name.rpartition("/")[2])
        if name is None or name["case"].startswith("."):
            continue
        first = files[name["kind"]].setdefault(name["case"], entry)
        if first is not entry:
            reason = f"{source.where(first.name)} has its name too and is used"
            path = source.where(entry.name)
            skipped.append(Skipped(path, reason, "same name twice", HNTSMRG.card.name))
    return files, skipped
