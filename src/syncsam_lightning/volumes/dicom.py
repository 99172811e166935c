"""DICOM series: finding them, and reading one as a volume."""

from __future__ import annotations

import importlib
import io
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from syncsam_lightning.errors import BrokenInputError, MissingPackageError
from syncsam_lightning.volumes.dicom_header import number
from syncsam_lightning.volumes.frames import frame_headers, num_frames
from syncsam_lightning.volumes.slice_geometry import place_slices
from syncsam_lightning.volumes.volume import MAX_VOXELS, Volume

_MAGIC_AT, _MAGIC = 128, b"DICM"
_TAGS = (
    "SeriesInstanceUID",
    "SeriesDescription",
    "Modality",
    "SOPClassUID",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "PixelSpacing",
    "SpacingBetweenSlices",
    "SliceThickness",
    "PhotometricInterpretation",
    "RescaleSlope",
    "RescaleIntercept",
)
MAX_SLICE_PIXELS = 1 << 26
"""Largest slice that is read; a header that declares more is refused before any allocation."""


def need(name: str) -> ModuleType:
    """Import a package of the extra ``dicom``.

    Raises:
        MissingPackageError: it isn't installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPackageError(
            f"DICOM needs the package {name.split('.')[0]}, which cannot be imported ({error}): "
            "pip install 'syncsam-lightning[dicom]'"
        ) from error


@contextmanager
def _refusing(path: Path, what: str) -> Iterator[None]:
    """Say in our words what pydicom and its decoders raise for a damaged file."""
    pydicom = need("pydicom")
    try:
        yield
    except pydicom.errors.InvalidDicomError as error:
        raise BrokenInputError(str(path), "not a DICOM file") from error
    except (
        OSError,
        EOFError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RuntimeError,
        struct.error,
        pydicom.errors.BytesLengthException,
    ) as error:
        reason = " ".join(str(error).split())
        raise BrokenInputError(str(path), f"{what} ({reason})") from error


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do (it may have any name or none to speak of)."""
    try:
        with path.open("rb") as file:
            file.seek(_MAGIC_AT)
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


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


def find_series(files: Sequence[Path]) -> tuple[list[Series], list[BrokenInputError]]:
    """Sort DICOM files into series, by the order in which each first occurs.

    Returns:
        the series, and what is wrong with files that belong to none.

    Raises:
        MissingPackageError: pydicom is not installed.
    """
    found: dict[str, list[Path]] = {}
    descriptions: dict[str, str] = {}
    broken = []
    for path in files:
        try:
            header = _header(path)
            uid = str(header.get("SeriesInstanceUID", ""))
            if not uid:
                raise BrokenInputError(str(path), "has no SeriesInstanceUID")
            if "Rows" not in header:
                raise BrokenInputError(str(path), "is DICOM, but no image")
        except BrokenInputError as error:
            broken.append(error)
            continue
        found.setdefault(uid, []).append(path)
        descriptions.setdefault(uid, str(header.get("SeriesDescription", "")))
    series = [Series(uid, descriptions[uid], tuple(paths)) for uid, paths in found.items()]
    return series, broken


def read_series(files: Sequence[Path]) -> Volume:
    """Read the files of one series, in whatever order they are given, as a volume.

    Slices are ordered by their position along the normal of the slices, not by name or instance
    number. Stored values become what they measure by slope and intercept (CT: Hounsfield units);
    MONOCHROME1, where small is bright, is turned around.

    Args:
        files: of one series with one image each, or the one file of an enhanced series. A single
            image without a position is one of its own; its affine then has pixel spacing and slice
            thickness (1 if unknown) and no more.

    Raises:
        BrokenInputError: a file can't be read or does not fit the others, or a slice is missing or
            there twice; the message names the file.
        MissingPackageError: pydicom is not installed.
    """
    headers = {path: _header(path) for path in files}
    for path, header in headers.items():
        _check_image(path, header)
    if enhanced := [path for path, header in headers.items() if num_frames(path, header) > 1]:
        return _read_frames(enhanced[0], len(headers))
    ordered, affine = place_slices(headers)
    first = headers[ordered[0]]
    _check_size(ordered[0], first, len(ordered))
    slices = [_pixels(path) for path in ordered]
    voxels = np.stack(slices, axis=-1).swapaxes(0, 1)
    return Volume(
        voxels,
        affine,
        tuple(ordered),
        modality=str(first.get("Modality", "")),
        has_spacing=bool(first.get("PixelSpacing")),
    )


def _read_frames(path: Path, num_files: int) -> Volume:
    """Read the file of an enhanced series (PS3.3 A.36 and A.38), which holds all slices."""
    if num_files > 1:
        raise BrokenInputError(
            str(path),
            f"holds several frames and is one of {num_files} files of its series: give it alone",
        )
    dataset = _read(path)
    with _refusing(path, "does not say readably where its frames lie"):
        headers = frame_headers(path, dataset)
    ordered, affine = place_slices(headers)
    _check_size(path, dataset, len(ordered))
    frames = list(headers)
    order = tuple(frames.index(frame) for frame in ordered)
    stored = _decoded(path, dataset)
    if len(stored) < len(frames):
        raise BrokenInputError(str(path), f"holds {len(stored)} of its {len(frames)} frames")
    slices = [_values(path, stored[n], headers[frames[n]], dataset) for n in order]
    voxels = np.stack(slices, axis=-1).swapaxes(0, 1)
    return Volume(voxels, affine, (path,), str(dataset.get("Modality", "")), frames=order)


class _Bounded(io.BufferedReader):
    """A file that reads no more than it holds.

    Python makes room for what is asked for before it reads, and pydicom asks for as much as a
    damaged element says that it has: up to 4 GiB.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._held = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to ``size`` bytes; all if it is None or negative."""
        if size is None or size < 0:
            return super().read()
        return super().read(max(0, min(size, self._held - self.tell())))


def _header(path: Path) -> Any:
    header = _read(path, stop_before_pixels=True, specific_tags=list(_TAGS))
    # Values are made from their bytes when they are first looked at: here, where it may fail.
    with _refusing(path, "cannot be read"):
        for _ in header:
            pass
    return header


def _read(path: Path, **options: Any) -> Any:
    with _refusing(path, "cannot be read"), _Bounded(path) as file:
        return need("pydicom").dcmread(file, **options)


def _check_image(path: Path, header: Any) -> None:
    if number(path, header, "SamplesPerPixel", 1) != 1:
        raise BrokenInputError(str(path), "is a colour image; save it as PNG to segment it")
    rows, columns = _size(path, header)
    if rows < 1 or columns < 1 or rows * columns > MAX_SLICE_PIXELS:
        raise BrokenInputError(
            str(path),
            f"declares {rows} x {columns} pixels, expected 1 to {MAX_SLICE_PIXELS:,} in all",
        )


def _size(path: Path, header: Any) -> tuple[int, int]:
    """Return the number of rows and of columns."""
    return number(path, header, "Rows", 0), number(path, header, "Columns", 0)


def _check_size(path: Path, header: Any, slices: int) -> None:
    rows, columns = _size(path, header)
    shape = (columns, rows, slices)
    if np.prod(shape, dtype=np.float64) > MAX_VOXELS:
        raise BrokenInputError(str(path), f"its series has {shape} voxels, over the limit")


def _pixels(path: Path) -> np.ndarray:
    dataset = _read(path)
    return _values(path, _decoded(path, dataset), dataset, dataset)


def _decoded(path: Path, dataset: Any) -> np.ndarray:
    with _refusing(path, "its pixels cannot be decoded"):
        stored: np.ndarray = dataset.pixel_array
    return stored


def _values(path: Path, stored: np.ndarray, scale: Any, dataset: Any) -> np.ndarray:
    """Return what ``(H, W)`` stored values measure, by the slope and intercept of ``scale``."""
    with _refusing(path, "its pixels cannot be decoded"):
        values = need("pydicom").pixels.apply_modality_lut(stored, scale)
    if values.ndim != 2:
        raise BrokenInputError(str(path), f"has pixels of shape {values.shape}, expected two axes")
    values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise BrokenInputError(str(path), "holds values that are not finite")
    inverted = dataset.get("PhotometricInterpretation") == "MONOCHROME1"
    result: np.ndarray = -values if inverted else values
    return result
