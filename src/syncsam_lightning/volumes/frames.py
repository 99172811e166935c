"""The slices that a DICOM file holds, as if each were an image of its own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes.dicom_header import number

# Where PS3.3 C.7.6.16 puts what an image of one frame says of itself.
_PLACES = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "SpacingBetweenSlices": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
}
CONCATENATION = ("ConcatenationUID", "InConcatenationNumber", "InConcatenationTotalNumber")
"""What files say that are parts of one image of many frames (PS3.3 C.7.6.16.2.2.4)."""

_OF_FILE = ("SOPClassUID", "SOPInstanceUID", "Modality", "Rows", "Columns", *CONCATENATION)
MAX_FRAMES = 1 << 17
"""Most frames of a file: a header that declares more is refused."""

SHARED, PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"


@dataclass(frozen=True, slots=True)
class FileSlice:
    """A slice of a series.

    Args:
        path: of the file that holds it.
        frame: its number in the file, from 0; None: the file is an image of one slice.
        header: what the file says of this slice, in the attributes of an image of one frame.
        is_film: whether it is one of several frames that lie nowhere in the patient.
    """

    path: Path
    frame: int | None
    header: Any
    is_film: bool = False

    @property
    def place(self) -> Path:
        """What messages call it: ``scan.dcm``, or ``scan.dcm[3]`` for a frame."""
        if self.frame is None:
            return self.path
        return self.path.with_name(f"{self.path.name}[{self.frame}]")


def file_slices(path: Path, header: Any) -> list[FileSlice]:
    """Return the slices of a file, in the order in which it holds them.

    Whether a file is enhanced is told by its functional groups, not by the number of its frames:
    with exactly one frame it still says in its groups alone where that lies and how it is scaled.

    Args:
        path: of the file.
        header: of the file, with the functional groups.

    Raises:
        BrokenInputError: the file says where some of its frames lie, and not where all do.
        Exception: what pydicom raises where it makes values of damaged bytes.
    """
    count = max(1, number(path, header, "NumberOfFrames", 1))  # 0 is said of one frame, wrongly
    if count > MAX_FRAMES:
        raise BrokenInputError(str(path), f"declares {count} frames, over the limit")
    shared = (header.get(SHARED) or [{}])[0]
    own = list(header.get(PER_FRAME) or [])
    if count == 1 and not own:
        if not shared:
            return [FileSlice(path, None, header)]
        own = [{}]
    if not own and not shared:
        whole = _header(header, ())
        whole.pop("ImagePositionPatient", None)
        return [FileSlice(path, frame, whole, is_film=True) for frame in range(count)]
    if len(own) != count:
        raise BrokenInputError(
            str(path),
            f"holds {count} frames and does not say where each lies in the patient, "
            "so that they make no volume: convert the series to NIfTI (dcm2niix does)",
        )
    return [
        FileSlice(path, frame, _header(header, (groups, shared)))
        for frame, groups in enumerate(own)
    ]


def missing_parts(slices: Iterable[FileSlice]) -> str:
    """Return in one clause which part of a concatenated image is not among its files, or ``""``.

    Args:
        slices: of all files that there are.

    Raises:
        BrokenInputError: a file does not say readably which part it is.
    """
    parts: dict[str, set[int]] = {}
    totals: dict[str, int] = {}
    for path, header in {one.path: one.header for one in slices}.items():
        if uid := str(header.get("ConcatenationUID") or ""):
            part, total = (number(path, header, name, 0) for name in CONCATENATION[1:])
            parts.setdefault(uid, set()).add(part)
            # The total may be left out; then only parts before the last one here can be missed.
            totals[uid] = max(totals.get(uid, 0), total, part)
    for uid, there in parts.items():
        missing = next((one for one in range(1, totals[uid] + 1) if one not in there), None)
        if missing is not None:
            return (
                f"part {missing} of {totals[uid]} of the image that they are parts of is not there"
            )
    return ""


def _header(of_file: Any, groups: Iterable[Any]) -> Any:
    from pydicom import Dataset  # installed: it has read the file

    header = Dataset()
    for name in _OF_FILE:
        if name in of_file:
            setattr(header, name, of_file[name].value)
    for name, sequence in _PLACES.items():
        items = (group.get(sequence) for group in groups)
        places = [items_of[0] for items_of in items if items_of] + [of_file]
        value = next((place.get(name) for place in places if name in place), None)
        if value is not None:
            setattr(header, name, value)
    return header
