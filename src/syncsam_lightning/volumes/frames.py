"""Frames of an enhanced DICOM image, as if each were an image of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes.dicom_header import number

# Where PS3.3 C.7.6.16 puts what an image of one frame says of itself.
_PLACES = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
}


def num_frames(path: Path, header: Any) -> int:
    """Return how many frames an image has.

    Raises:
        BrokenInputError: its header says it with something else than a finite number.
    """
    return number(path, header, "NumberOfFrames", 1)


def frame_headers(path: Path, dataset: Any) -> dict[Path, Any]:
    """Return a header for each frame, by what messages call it: ``scan.dcm[3]``.

    Args:
        path: of the file.
        dataset: of several frames.

    Raises:
        BrokenInputError: the file does not say where its frames lie, as films and multi-frame
            ultrasound don't.
        Exception: what pydicom raises where it makes values of damaged bytes.
    """
    shared = dataset.get("SharedFunctionalGroupsSequence") or [{}]
    own = dataset.get("PerFrameFunctionalGroupsSequence") or []
    count = num_frames(path, dataset)
    if len(own) != count:
        raise BrokenInputError(
            str(path),
            f"holds {count} frames and does not say where each lies in the patient, "
            "so that they make no volume: save them as PNG, or convert the series to NIfTI "
            "(dcm2niix does)",
        )
    return {
        path.with_name(f"{path.name}[{number}]"): _header(dataset, shared[0], groups)
        for number, groups in enumerate(own)
    }


def _header(dataset: Any, shared: Any, own: Any) -> Any:
    from pydicom import Dataset  # installed: it has read the file

    header = Dataset()
    header.Rows, header.Columns = dataset.Rows, dataset.Columns
    for name, sequence in _PLACES.items():
        groups = own.get(sequence) or shared.get(sequence)
        if groups and name in groups[0]:
            setattr(header, name, groups[0][name].value)
    return header
