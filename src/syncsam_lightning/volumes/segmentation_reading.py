"""The objects of a DICOM SEG, drawn on the voxels of the volume that it lies over."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes.dicom_file import read_dataset, read_header, refusing
from syncsam_lightning.volumes.dicom_header import number, numbers
from syncsam_lightning.volumes.dicom_pixels import read_pixels
from syncsam_lightning.volumes.frames import PER_FRAME, SHARED, FileSlice, file_slices
from syncsam_lightning.volumes.place import CLOSE, Place
from syncsam_lightning.volumes.segmentation import MANUFACTURER
from syncsam_lightning.volumes.slice_geometry import pixel_spacing
from syncsam_lightning.volumes.volume import MAX_VOXELS

_BINARY, _LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"
_TAGS = (
    *("SOPClassUID", "SegmentationType", "SegmentSequence", "Manufacturer"),
    "PixelPaddingValue",
)
_LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])


@dataclass(frozen=True, slots=True)
class _Frame:
    """A frame of a SEG.

    Args:
        segment: whose mask it is; None: it is a label map of all.
        pixels: ``(H, W)`` numbers.
        origin: ``(3,)`` int, indices of the voxel that the first pixel lies on.
        steps: ``(3, 2)`` int, from there to that of the next column, and of the next row.
    """

    segment: int | None
    pixels: np.ndarray
    origin: np.ndarray
    steps: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class SegmentMasks:
    """The masks of a DICOM SEG on the voxels of a volume.

    Args:
        shape: ``(I, J, K)`` of the volume.
        frames: of the SEG.
    """

    shape: tuple[int, ...]
    frames: Sequence[_Frame]

    def mask(self, segment: int) -> np.ndarray:
        """Return ``(I, J, K)`` bool of a segment, by its number."""
        mask = np.zeros(self.shape, bool)
        for frame in self.frames:
            if frame.segment in (None, segment):
                inside = frame.pixels == segment if frame.segment is None else frame.pixels != 0
                rows, columns = np.nonzero(inside)
                where = frame.origin[:, None] + frame.steps @ np.stack([columns, rows])
                mask[tuple(where)] = True
        return mask


def read_segment_names(path: Path) -> dict[int, str]:
    """Return what the segments of a DICOM SEG are called, by their numbers.

    That of the background of a label map, which is listed among them, is no object.

    Raises:
        BrokenInputError: the file is damaged or no SEG, or it holds shares and not masks.
        MissingPackageError: pydicom is not installed.
    """
    header = read_header(path, _TAGS)
    if header.get("SOPClassUID") not in (_BINARY, _LABEL_MAP):
        raise BrokenInputError(
            str(path), "is DICOM, but no DICOM SEG, which alone of DICOM holds masks"
        )
    if header.get("SegmentationType") == "FRACTIONAL":
        raise BrokenInputError(
            str(path), "is a DICOM SEG of shares (FRACTIONAL), not of masks: save it as BINARY"
        )
    is_ours = header.get("Manufacturer") == MANUFACTURER
    names: dict[int, str] = {}
    with refusing(path, "does not say readably which segments it has"):
        for item in header.get("SegmentSequence") or ():
            label = str(item.get("SegmentLabel") or "").strip()
            # What a label has no room for, `write_segmentation` says in the description.
            whole = str(item.get("SegmentDescription") or "") if is_ours else ""
            names[int(item.SegmentNumber)] = whole or label or f"segment {item.SegmentNumber}"
        if header.get("SOPClassUID") == _LABEL_MAP:
            names.pop(number(path, header, "PixelPaddingValue", 0), None)
    if not names:
        raise BrokenInputError(str(path), "is a DICOM SEG without a segment")
    return names


def read_segment_masks(path: Path, place: Place) -> SegmentMasks:
    """Read the masks of a DICOM SEG.

    Frames lie where their positions say, whatever the order of the volume's axes; those that
    nothing is drawn on may be missing.

    Args:
        path: of the SEG.
        place: of the volume's voxels.

    Raises:
        BrokenInputError: the file is damaged, or a frame does not lie on the voxels.
        MissingPackageError: pydicom is not installed.
    """
    dataset = read_dataset(path)
    with refusing(path, "does not say readably how large it is"):
        rows, columns, count = (
            number(path, dataset, name, 1) for name in ("Rows", "Columns", "NumberOfFrames")
        )
    if min(rows, columns, count) < 1 or math.prod((rows, columns, count)) > MAX_VOXELS:
        raise BrokenInputError(
            str(path), f"declares {count} frames of {rows} x {columns} pixels, over the limit"
        )
    with refusing(path, "does not say readably where its frames lie"):
        slices = file_slices(path, dataset)
        segments = list(_segments(dataset))
    pixels = read_pixels(path, dataset)
    if not len(pixels) == len(slices) == len(segments):
        raise BrokenInputError(str(path), f"holds {len(pixels)} frames, expected {len(slices)}")
    frames = []
    for one, segment, drawn in zip(slices, segments, pixels, strict=True):
        if drawn.any():
            with refusing(one.place, "does not say readably where it lies"):
                frames.append(_Frame(segment, drawn, *_voxels(one, drawn.shape, place)))
    return SegmentMasks(place.shape, frames)


def _segments(dataset: Any) -> Iterator[int | None]:
    """Yield whose each frame is."""
    shared = (dataset.get(SHARED) or [{}])[0]
    is_label_map = dataset.get("SOPClassUID") == _LABEL_MAP
    for groups in dataset.get(PER_FRAME) or [{}]:
        found = groups.get("SegmentIdentificationSequence") or shared.get(
            "SegmentIdentificationSequence"
        )
        yield None if is_label_map else int(found[0].ReferencedSegmentNumber)


def _voxels(one: FileSlice, shape: tuple[int, ...], place: Place) -> tuple[np.ndarray, np.ndarray]:
    """Return on which voxels the pixels of a frame lie, as origin and steps of :class:`_Frame`."""
    path = one.place
    position = numbers(path, one.header, "ImagePositionPatient", 3)
    direction = numbers(path, one.header, "ImageOrientationPatient", 6)
    spacing = pixel_spacing(path, one.header)
    steps = np.eye(3)[:, :2]
    origin = np.zeros(3)
    if position is not None and direction is not None and spacing is not None:
        to_voxels = np.linalg.inv(place.affine)
        millimetres = (direction.reshape(2, 3) * np.array(spacing[::-1])[:, None] * _LPS_TO_RAS).T
        steps = to_voxels[:3, :3] @ millimetres
        origin = to_voxels[:3] @ [*(position * _LPS_TO_RAS), 1.0]
    elif place.shape != (shape[1], shape[0], 1):
        raise BrokenInputError(
            str(path),
            "does not say where in the patient it lies, and its image is no single slice of its "
            "size",
            "place mismatch",
        )
    last = np.array([shape[1] - 1, shape[0] - 1])
    whole_origin, whole_steps = np.rint(origin), np.rint(steps)
    moved = max(
        np.abs(origin + steps @ (last * at) - whole_origin - whole_steps @ (last * at)).max()
        for at in ((0, 0), (0, 1), (1, 0), (1, 1))
    )
    ends = [whole_origin, whole_origin + whole_steps @ last]
    is_inside = (np.minimum(*ends) >= 0).all() and (np.maximum(*ends) < place.shape).all()
    if not moved <= CLOSE or not is_inside:
        reason = f"lies {'beside' if moved <= CLOSE else 'between'} the voxels of its image"
        raise BrokenInputError(str(path), f"{reason}: it is of another one", "place mismatch")
    return whole_origin.astype(np.int64), whole_steps.astype(np.int64)
