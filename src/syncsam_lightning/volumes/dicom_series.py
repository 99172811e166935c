"""Which DICOM files are images, and which of these belong together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes.dicom_file import need, read_header

SORTING_TAGS = (
    "SOPClassUID",
    "Modality",
    "SeriesInstanceUID",
    "SeriesDescription",
    "Rows",
    "Columns",
)
_DICOMDIR = "1.2.840.10008.1.3.10"
_MADE_OF_IMAGES = {
    "1.2.840.10008.5.1.4.1.1.66.4": "DICOM SEG",
    "1.2.840.10008.5.1.4.1.1.66.7": "DICOM SEG",  # a label map
    "1.2.840.10008.5.1.4.1.1.481.2": "RT Dose",
}
"""Classes that have pixels and still show no patient: they lie over the images of a series."""


@dataclass(frozen=True, slots=True)
class Series:
    """The files of one series of a folder.

    Args:
        uid: its SeriesInstanceUID.
        description: what the scanner called it, may be empty.
        files: in no particular order.
    """

    uid: str
    description: str
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class SortedFiles:
    """What a folder's DICOM files are.

    Args:
        series: of images, by the order in which each first occurs.
        broken: what is wrong with files that can't be sorted.
        others: files that are no images, such as segmentations, doses and reports, and what each
            is.
    """

    series: tuple[Series, ...]
    broken: tuple[BrokenInputError, ...]
    others: tuple[tuple[Path, str], ...]

    @property
    def left_out(self) -> str:
        """The files that are no images in one clause; empty if there are none."""
        if not self.others:
            return ""
        counts = Counter(what for _, what in self.others)
        kinds = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
        one = len(self.others) == 1
        return (
            f"{len(self.others)} DICOM file{' is' if one else 's are'} left out, being no "
            f"image{'' if one else 's'} of a series ({kinds}; {self.others[0][0].name}"
            f"{'' if one else ', ...'})"
        )


def find_series(files: Sequence[Path]) -> SortedFiles:
    """Sort DICOM files into series.

    Raises:
        MissingPackageError: pydicom is not installed.
    """
    found: dict[str, list[Path]] = {}
    descriptions: dict[str, str] = {}
    broken: list[BrokenInputError] = []
    others: list[tuple[Path, str]] = []
    for path in files:
        try:
            header = read_header(path, SORTING_TAGS)
            if what := no_image(header):
                others.append((path, what))
                continue
            uid = str(header.get("SeriesInstanceUID", ""))
            if not uid:
                raise BrokenInputError(str(path), "has no SeriesInstanceUID")
        except BrokenInputError as error:
            broken.append(error)
            continue
        found.setdefault(uid, []).append(path)
        descriptions.setdefault(uid, str(header.get("SeriesDescription", "")))
    series = (Series(uid, descriptions[uid], tuple(paths)) for uid, paths in found.items())
    return SortedFiles(tuple(series), tuple(broken), tuple(others))


def no_image(header: Any) -> str:
    """Return what a file is that is no image of a patient; empty for an image.

    Args:
        header: with the attributes of :data:`SORTING_TAGS`. An image that lacks the number of its
            rows is a damaged image, but an image.
    """
    meta = getattr(header, "file_meta", {})
    uid = str(header.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or "")
    if uid == _DICOMDIR:
        return "DICOMDIR"
    if uid in _MADE_OF_IMAGES:
        return _MADE_OF_IMAGES[uid]
    if "Rows" in header:
        return ""
    name: str = need("pydicom").uid.UID(uid).name if uid else ""
    return "" if "Image" in name else name.removesuffix(" Storage") or "DICOM without a class"
