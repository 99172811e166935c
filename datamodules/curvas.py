"""CURVAS: abdominal CT with the organs as three raters drew them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from syncsam_lightning.data.components import SmallestObject
from syncsam_lightning.data.label_volumes import LabelFile, Labels, SliceRule
from syncsam_lightning.data.slices import LabelledVolume
from syncsam_lightning.data.sources import Entry, Source
from syncsam_lightning.data.volume_files import VolumeFile
from syncsam_lightning.data.zero_shot import SMALLEST_SHARE
from syncsam_lightning.data.zero_shot_volumes import ZeroShotVolumes
from syncsam_lightning.errors import DatasetNotFoundError
from syncsam_lightning.records import DatasetCard, Skipped
from syncsam_lightning.volumes import Volume, Window
from syncsam_lightning.volumes.place import aligned, place_of

Raters = Literal["default", 1, 2, 3, "majority", "all"]

NAMES = {1: "pancreas", 2: "kidney", 3: "liver"}

PAPER = SliceRule(
    window=Window(rule="minmax_slice"),
    plane="stored",
    smallest=SmallestObject(SMALLEST_SHARE, inclusive=False),
    by_component=True,
)
"""Components whose area exceeds the threshold; air and metal compress the soft tissue."""

RECOMMENDED = SliceRule(
    window=Window(-160, 240),
    plane="axial",
    smallest=SmallestObject(SMALLEST_SHARE),
    by_component=True,
)
"""Soft tissue of the abdomen (level 40, width 400 HU), axial, front up."""

_NUM_RATERS = 3
_FILE = re.compile(r"(?P<kind>image|annotation_(?P<rater>\d+))\.nii(?:\.gz)?")


class CURVAS(ZeroShotVolumes):
    """Slices of abdominal CT with pancreas, kidneys and liver; each component is an object."""

    paper: ClassVar[SliceRule] = PAPER
    recommended: ClassVar[SliceRule] = RECOMMENDED
    card: ClassVar[DatasetCard] = DatasetCard(
        name="CURVAS",
        description="Abdominal CT with pancreas, kidneys and liver, drawn by three raters each.",
        homepage="https://zenodo.org/records/12687192",
        license="not known to us: see its page",
        citation="CURVAS challenge, https://curvas.grand-challenge.org",
        modalities=("ct",),
        layout=(
            "ANY/CASE/image.nii.gz",
            "ANY/CASE/annotation_1.nii.gz    also _2, _3; 1 pancreas, 2 kidney, 3 liver",
            "or the archive as downloaded, once it is repaired with zip -FF if need be",
        ),
    )

    def __init__(
        self,
        root: str | None = None,
        table: str | None = None,
        *,
        raters: Raters = "default",
        **kwargs: Any,
    ) -> None:
        """Create the datamodule.

        Args:
            root: the release: its folder, its archive, or an address.
            table: the prepared table.
            raters: whose masks are used: those of one rater; where two of the three agree
                (``majority``); or those of each rater as masks of their own (``all``), labelled
                ``liver (rater 2)``. By default rater 1 under ``paper``, else ``majority``.
            kwargs: see :class:`~syncsam_lightning.data.zero_shot.ZeroShotDataModule`.

        Raises:
            ValueError: ``raters`` is none of these.
        """
        super().__init__(root, table, **kwargs)
        known = get_args(Raters)
        if raters not in known:
            raise ValueError(f"raters must be one of {', '.join(map(str, known))}, got {raters!r}")
        self.raters: Raters = raters
        if raters == "default":
            self.raters = 1 if self.is_paper else "majority"

    def table_settings(self) -> dict[str, Any]:
        """Return what shapes the table."""
        return super().table_settings() | {"raters": self.raters}

    def volumes(self, source: Source) -> Iterator[LabelledVolume | Skipped]:
        """Yield the scans, patient by patient."""
        folders, skipped = _find_files(source)
        complete = [files for files in folders.values() if len(files) > 1 and "image" in files]
        if not complete:
            raise DatasetNotFoundError(
                f"no {self.card.name} in {source.where('')}: none of its folders holds "
                "image.nii.gz and annotation_1.nii.gz"
            )
        if any(f"annotation_{_NUM_RATERS + 1}" in files for files in complete):
            raise DatasetNotFoundError(
                f"{source.where('')} is no {self.card.name}: it has more than {_NUM_RATERS} "
                "raters, as CURVAS-PDACVI does, whose labels mean something else"
            )
        yield from skipped
        for folder, files in sorted(folders.items()):
            yield from self._case(source, folder, files)

    def _case(
        self, source: Source, folder: str, files: Mapping[str, Entry]
    ) -> Iterator[LabelledVolume | Skipped]:
        wanted = [self.raters] if isinstance(self.raters, int) else range(1, _NUM_RATERS + 1)
        missing = [
            kind for kind in ("image", *(f"annotation_{r}" for r in wanted)) if kind not in files
        ]
        if missing:
            kind = "mask without image" if "image" in missing else "image without mask"
            names = " and ".join(f"{name}.nii.gz" for name in missing)
            path = source.where(next(iter(files.values())).name)
            yield Skipped(path, f"there is no {names} beside it", kind, self.card.name)
            return
        raters = {r: VolumeFile.of(source, files[f"annotation_{r}"]) for r in wanted}
        yield LabelledVolume(
            id=f"{self.card.name}/{folder}",
            case=folder,
            image=VolumeFile.of(source, files["image"]),
            labels=self._labels(raters),
            modality="ct",
            source=self.card.name,
        )

    def _labels(self, raters: Mapping[int, VolumeFile]) -> list[Labels]:
        if self.raters == "majority":
            files = [file.path for file in raters.values()]
            read = MajorityLabels(tuple(map(LabelFile, raters.values())))
            return [Labels(read, " and ".join(files), NAMES.get, files=files)]
        several = len(raters) > 1
        return [
            Labels(
                LabelFile(file),
                file.path,
                {
                    value: f"{name} (rater {rater})" if several else name
                    for value, name in NAMES.items()
                }.get,
            )
            for rater, file in raters.items()
        ]


@dataclass(frozen=True, slots=True)
class MajorityLabels:
    """The label on which two of three raters agree, voxel by voxel; background where none do."""

    files: tuple[LabelFile, ...]

    def __call__(self) -> Volume:
        """Return the labels.

        Raises:
            BrokenInputError: a rater's file is damaged, or their shapes or places differ.
        """
        first, second, third = (read() for read in self.files)
        a, b, c = (
            aligned(labels, place_of(first), file.file.path, "another rater's").voxels
            for file, labels in zip(self.files, (first, second, third), strict=True)
        )
        agreed = np.where((a == b) | (a == c), a, np.where(b == c, b, 0)).astype(np.uint8)
        return Volume(agreed, first.affine)


def _find_files(source: Source) -> tuple[dict[str, dict[str, Entry]], list[Skipped]]:
    """Return the files of each folder by kind, and what cannot be used."""
    folders: dict[str, dict[str, Entry]] = {}
    skipped: list[Skipped] = []
    for entry in source.entries():
        if isinstance(entry, Skipped):
            skipped.append(entry)
            continue
        path = PurePosixPath(entry.name)
        name = _FILE.fullmatch(path.name)
        if name is None:
            continue
        folder = path.parent.as_posix()
        files = folders.setdefault("case" if folder == "." else folder, {})
        if files.setdefault(name["kind"], entry) is not entry:
            reason = f"{source.where(files[name['kind']].name)} has its name too and is used"
            path_of = source.where(entry.name)
            skipped.append(Skipped(path_of, reason, "same name twice", CURVAS.card.name))
    return folders, skipped
