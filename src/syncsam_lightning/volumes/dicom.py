"""A DICOM series as a volume."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes.dicom_file import read_dataset, read_header, refusing
from syncsam_lightning.volumes.dicom_header import number
from syncsam_lightning.volumes.dicom_pixels import measured, read_pixels
from syncsam_lightning.volumes.dicom_series import SORTING_TAGS, no_image
from syncsam_lightning.volumes.frames import (
    CONCATENATION,
    PER_FRAME,
    SHARED,
    FileSlice,
    file_slices,
    missing_parts,
)
from syncsam_lightning.volumes.place import Place
from syncsam_lightning.volumes.slice_geometry import pixel_spacing, place_slices
from syncsam_lightning.volumes.volume import MAX_VOXELS, Volume

log = logging.getLogger(__name__)

_TAGS = (
    *SORTING_TAGS,
    "SOPInstanceUID",
    "ImageType",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    "SpacingBetweenSlices",
    "SliceThickness",
    "RescaleSlope",
    "RescaleIntercept",
    SHARED,
    PER_FRAME,
    *CONCATENATION,
)
MAX_SLICE_PIXELS = 1 << 26
"""Largest slice that is read; a header that declares more is refused before any allocation."""


def read_series(files: Sequence[Path]) -> Volume:
    """Read the files of one series, in whatever order they are given, as a volume.

    Slices are ordered by their position along the normal of the slices, not by name or instance
    number. Stored values become what they measure by slope and intercept (CT: Hounsfield units);
    MONOCHROME1, where small is bright, is turned around. Padding (PixelPaddingValue), which is not
    part of the picture, is -inf.

    Args:
        files: of one series, with one image each, or enhanced ones with one or several frames
            (PS3.3 A.36 and A.38). A single image without a position is one of its own; its affine
            then has pixel spacing and slice thickness (1 if unknown) and no more.

    Raises:
        BrokenInputError: a file can't be read or does not fit the others, or a slice is missing or
            there twice; the message names the file.
        MissingPackageError: pydicom is not installed.
    """
    ordered, place = _arranged(files)
    if missing := missing_parts(ordered):
        log.warning(
            "%s: %s, so the volume ends early: give the folder that holds all parts",
            ordered[0].path if len(files) == 1 else ordered[0].path.parent,
            missing,
        )
    shape = place.shape[::-1]
    of_files: dict[Path, list[int]] = {}
    for k, one in enumerate(ordered):
        of_files.setdefault(one.path, []).append(k)
    stack = np.empty(shape, np.float32)
    for path, numbers in of_files.items():
        _fill(stack, path, {k: ordered[k] for k in numbers})
    return Volume(
        stack.transpose(2, 1, 0),
        place.affine,
        tuple(one.path for one in ordered),
        modality=str(ordered[0].header.get("Modality", "")),
        frames=tuple(one.frame or 0 for one in ordered),
        has_spacing=pixel_spacing(ordered[0].place, ordered[0].header) is not None,
    )


def read_series_place(files: Sequence[Path]) -> Place:
    """Read where the voxels of a series lie; see :func:`read_series`.

    Raises:
        BrokenInputError: see :func:`read_series`; pixels are not looked at.
        MissingPackageError: pydicom is not installed.
    """
    return _arranged(files)[1]


def _arranged(files: Sequence[Path]) -> tuple[list[FileSlice], Place]:
    """Return the slices of a series in order, and where their voxels lie."""
    by_place = {one.place: one for one in read_slices(files)}
    places, affine = place_slices({place: one.header for place, one in by_place.items()})
    ordered = [by_place[place] for place in places]
    rows, columns = _size(places[0], ordered[0].header)
    shape = (columns, rows, len(ordered))
    if np.prod(shape, dtype=np.float64) > MAX_VOXELS:
        raise BrokenInputError(str(places[0]), f"its series has {shape} voxels, over the limit")
    return ordered, Place(shape, affine)


def read_slices(files: Sequence[Path]) -> list[FileSlice]:
    """Read the headers of the slices that files hold, in the order of the files.

    Raises:
        BrokenInputError: a file can't be read, is no image or one that isn't read yet.
        MissingPackageError: pydicom is not installed.
    """
    slices: list[FileSlice] = []
    for path in files:
        header = read_header(path, _TAGS)
        _check_image(path, header)
        with refusing(path, "does not say readably where its frames lie"):
            slices += file_slices(path, header)
    return slices


def _check_image(path: Path, header: Any) -> None:
    if what := no_image(header):
        remedy = "give the folder or the files of the images"
        raise BrokenInputError(str(path), f"is no image of a patient ({what}): {remedy}")
    if "MOSAIC" in _texts(header.get("ImageType")):
        raise BrokenInputError(
            str(path),
            "is a mosaic (ImageType), many slices side by side in one picture: convert the series "
            "to NIfTI (dcm2niix does)",
        )
    if number(path, header, "SamplesPerPixel", 1) != 1:
        raise BrokenInputError(
            str(path),
            f"is a colour image ({header.get('PhotometricInterpretation')}), and colour DICOM "
            "isn't read yet: save it as PNG to segment it",
        )
    rows, columns = _size(path, header)
    if rows < 1 or columns < 1 or rows * columns > MAX_SLICE_PIXELS:
        raise BrokenInputError(
            str(path),
            f"declares {rows} x {columns} pixels, expected 1 to {MAX_SLICE_PIXELS:,} in all",
        )


def _texts(values: Any) -> list[str]:
    """Return the values of an attribute that may have one or several."""
    return [values] if isinstance(values, str) else [str(value) for value in values or ()]


def _size(path: Path, header: Any) -> tuple[int, int]:
    """Return the number of rows and of columns."""
    return number(path, header, "Rows", 0), number(path, header, "Columns", 0)


def _fill(stack: np.ndarray, path: Path, slices: Mapping[int, FileSlice]) -> None:
    """Read the pixels of a file into ``(K, H, W)``, where its slices lie by their K."""
    dataset = read_dataset(path)
    frames = read_pixels(path, dataset)
    for k, one in slices.items():
        frame = one.frame or 0
        if frame >= len(frames):
            raise BrokenInputError(str(path), f"holds {len(frames)} frames, expected {frame + 1}")
        if frames[frame].shape != stack.shape[1:]:
            raise BrokenInputError(str(path), f"has pixels of shape {frames[frame].shape}")
        # A frame's header has its scale; that of an image of one slice is the file's, with tables.
        scale = dataset if one.frame is None else one.header
        stack[k] = measured(path, frames[frame], scale, dataset)
