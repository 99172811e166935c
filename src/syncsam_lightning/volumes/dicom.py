"""A DICOM series as a volume."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes.dicom_colours import (
    PALETTE,
    check_colours,
    has_colours,
    palette_colours,
    read_colours,
)
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
from syncsam_lightning.volumes.slice_geometry import film_affine, pixel_spacing, place_slices
from syncsam_lightning.volumes.volume import MAX_VOXELS, Volume

log = logging.getLogger(__name__)

_TAGS = (
    *SORTING_TAGS,
    "SOPInstanceUID",
    "ImageType",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
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
_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)  # of ITU-R BT.601
MAX_SLICE_PIXELS = 1 << 26
"""Largest slice that is read; a header that declares more is refused before any allocation."""


def read_series(files: Sequence[Path]) -> Volume:
    """Read the files of one series, in whatever order they are given, as a volume.

    Slices are ordered by their position along the normal of the slices, not by name or instance
    number. Stored values become what they measure by slope and intercept (CT: Hounsfield units);
    MONOCHROME1, where small is bright, is turned around. Padding (PixelPaddingValue), which is not
    part of the picture, is -inf. Colours become RGB. The frames of a film, which lie nowhere, are
    slices in their order.

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
    if ordered[0].is_film:
        log.warning(
            "%s: its %d frames do not say where in the patient each lies, and are taken for a film:"
            " slice 0 is its first frame",
            ordered[0].path,
            len(ordered),
        )
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
    stack: np.ndarray | None = None
    for path, numbers in of_files.items():
        dataset = read_dataset(path)
        is_coloured = has_colours(path, dataset)
        if stack is None:
            stack = np.empty((*shape, 3), np.uint8) if is_coloured else np.empty(shape, np.float32)
        if is_coloured != (stack.ndim == 4):
            raise BrokenInputError(
                str(path),
                f"is {'in colour' if is_coloured else 'grey'}, and {ordered[0].path.name} of the "
                "same series is not: give one of them",
            )
        _fill(stack, path, {k: ordered[k] for k in numbers}, dataset)
    assert stack is not None
    return Volume(
        np.moveaxis(stack, (0, 1, 2), (2, 1, 0)),
        place.affine,
        tuple(one.path for one in ordered),
        modality=str(ordered[0].header.get("Modality", "")),
        frames=tuple(one.frame or 0 for one in ordered),
        has_spacing=not ordered[0].is_film
        and pixel_spacing(ordered[0].place, ordered[0].header) is not None,
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
    slices = read_slices(files)
    by_place = {one.place: one for one in slices}
    film = next((one for one in slices if one.is_film), None)
    if film is not None and len(files) > 1:
        count = sum(one.path == film.path for one in slices)
        raise BrokenInputError(
            str(film.path),
            f"holds {count} frames and does not say where each lies in the patient, so that it is "
            "a film, and no part of a series: give its file, not the folder",
        )
    if film is not None:
        places, affine = list(by_place), film_affine(film.path, film.header)
    else:
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
    check_colours(path, header)
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


def _fill(stack: np.ndarray, path: Path, slices: Mapping[int, FileSlice], dataset: Any) -> None:
    """Read the pixels of a file into ``(K, H, W[, 3])``, where its slices lie by their K."""
    is_coloured = stack.ndim == 4
    frames = read_colours(path, dataset) if is_coloured else read_pixels(path, dataset)
    for k, one in slices.items():
        frame = one.frame or 0
        if frame >= len(frames):
            raise BrokenInputError(str(path), f"holds {len(frames)} frames, expected {frame + 1}")
        if frames[frame].shape != stack.shape[1:]:
            raise BrokenInputError(str(path), f"has pixels of shape {frames[frame].shape}")
        if is_coloured:
            stack[k] = frames[frame]
        elif dataset.get("PhotometricInterpretation") == PALETTE:
            stack[k] = palette_colours(path, frames[frame], dataset) @ _LUMINANCE
        else:
            # A frame's header has its scale; that of an image of one slice is the file's, with
            # tables.
            scale = dataset if one.frame is None else one.header
            stack[k] = measured(path, frames[frame], scale, dataset)
