"""DICOM series: finding them, and reading one as a volume."""

from __future__ import annotations

import importlib
import io
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from syncsam_lightning.errors import BrokenInputError, SyncSAMError
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
    "PhotometricInterpretation",
    "RescaleSlope",
    "RescaleIntercept",
)
MAX_SLICE_PIXELS = 1 << 26
"""Largest slice that is read; a header that declares more is refused before any allocation."""

# Degrees of freedom that scanners need: positions are written with few decimals.
_SPACING_TOLERANCE = 0.05
_DIRECTION_TOLERANCE = 1e-3
_NORMAL_TOLERANCE = 0.01
_SMALLEST_SPACING = 1e-6  # millimetres; what is less is damage, and an affine without an inverse


class MissingPackageError(SyncSAMError):
    """A package that only some formats need is not installed."""


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


def _unreadable(pydicom: ModuleType) -> tuple[type[Exception], ...]:
    """Return what pydicom and its decoders raise for damaged files."""
    return (
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
    )


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
        files: of one series with one image each. A single file without a position is an image of
            its own; its affine then has the pixel spacing (1 if unknown) and no more.

    Raises:
        BrokenInputError: a file can't be read or does not fit the others, or a slice is missing or
            there twice; the message names the file.
        MissingPackageError: pydicom is not installed.
    """
    headers = {path: _header(path) for path in files}
    for path, header in headers.items():
        _check_image(path, header)
    ordered, affine = _place(headers)
    first = headers[ordered[0]]
    rows, columns = _size(ordered[0], first)
    shape = (columns, rows, len(ordered))
    if np.prod(shape, dtype=np.float64) > MAX_VOXELS:
        raise BrokenInputError(str(ordered[0]), f"its series has {shape} voxels, over the limit")
    slices = [_pixels(path) for path in ordered]
    voxels = np.stack(slices, axis=-1).swapaxes(0, 1)
    return Volume(voxels, affine, tuple(ordered), modality=str(first.get("Modality", "")))


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
    pydicom = need("pydicom")
    try:
        with _Bounded(path) as file:
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_TAGS))
        # Values are made from their bytes when they are first looked at: here, where it may fail.
        for _ in header:
            pass
    except pydicom.errors.InvalidDicomError as error:
        raise BrokenInputError(str(path), "not a DICOM file") from error
    except _unreadable(pydicom) as error:
        reason = " ".join(str(error).split())
        raise BrokenInputError(str(path), f"cannot be read ({reason})") from error
    return header


def _numbers(path: Path, header: Any, name: str, count: int) -> np.ndarray | None:
    """Return the ``count`` float64 values of a tag, or None if it is not there or empty.

    Raises:
        BrokenInputError: they are more or fewer, or not all finite numbers.
    """
    given = header.get(name)
    if given is None or (hasattr(given, "__len__") and not len(given)):
        return None
    try:
        values = np.asarray(given, np.float64).reshape(-1)
    except (ValueError, TypeError, OverflowError):
        values = np.zeros(0)
    if len(values) != count or not np.isfinite(values).all():
        what = "a finite number" if count == 1 else f"{count} finite numbers"
        raise BrokenInputError(str(path), f"has {name} {given}, expected {what}")
    return values


def _number(path: Path, header: Any, name: str, default: int) -> int:
    values = _numbers(path, header, name, 1)
    return default if values is None else int(values[0])


def _check_image(path: Path, header: Any) -> None:
    if _number(path, header, "NumberOfFrames", 1) > 1:
        raise BrokenInputError(
            str(path),
            "holds several frames; series of one image per file are read: split it up "
            "or convert it to NIfTI (dcm2niix does)",
        )
    if _number(path, header, "SamplesPerPixel", 1) != 1:
        raise BrokenInputError(str(path), "is a colour image; save it as PNG to segment it")
    rows, columns = _size(path, header)
    if rows < 1 or columns < 1 or rows * columns > MAX_SLICE_PIXELS:
        raise BrokenInputError(
            str(path),
            f"declares {rows} x {columns} pixels, expected 1 to {MAX_SLICE_PIXELS:,} in all",
        )


def _size(path: Path, header: Any) -> tuple[int, int]:
    """Return the number of rows and of columns."""
    return _number(path, header, "Rows", 0), _number(path, header, "Columns", 0)


def _place(headers: dict[Path, Any]) -> tuple[list[Path], np.ndarray]:
    """Return the files in order, and the affine of their voxels."""
    paths = list(headers)
    first = headers[paths[0]]
    positions: dict[Path, np.ndarray] = {}
    directions: dict[Path, np.ndarray] = {}
    for path, header in headers.items():
        position = _numbers(path, header, "ImagePositionPatient", 3)
        direction = _numbers(path, header, "ImageOrientationPatient", 6)
        if position is not None and direction is not None:
            positions[path], directions[path] = position, direction
        elif len(paths) > 1:
            raise BrokenInputError(str(path), "does not say where in the patient it lies")
        else:
            rows, columns = _pixel_spacing(path, header)
            return paths, np.diag([-columns, -rows, 1.0, 1.0])
    along_row, along_column = directions[paths[0]].reshape(2, 3)
    normal = np.cross(along_row, along_column)
    if abs(np.linalg.norm(normal) - 1) > _NORMAL_TOLERANCE:
        given = first.ImageOrientationPatient
        reason = f"has ImageOrientationPatient {given}, expected two directions at right angles"
        raise BrokenInputError(str(paths[0]), reason)
    for path, header in headers.items():
        _check_same(path, header, paths[0], first)
    heights = {path: float(position @ normal) for path, position in positions.items()}
    ordered = sorted(paths, key=lambda path: (heights[path], path))
    step = _step(ordered, [heights[path] for path in ordered], positions, normal)
    rows, columns = _pixel_spacing(paths[0], first)
    to_patient = np.eye(4)
    to_patient[:3, 0] = along_row * columns
    to_patient[:3, 1] = along_column * rows
    to_patient[:3, 2] = step
    to_patient[:3, 3] = positions[ordered[0]]
    # DICOM counts left and posterior as positive, NIfTI right and anterior.
    return ordered, np.diag([-1.0, -1.0, 1.0, 1.0]) @ to_patient


def _pixel_spacing(path: Path, header: Any) -> tuple[float, float]:
    """Return the distances between rows and between columns; 1 if they are not known."""
    spacing = _numbers(path, header, "PixelSpacing", 2)
    if spacing is None:
        return 1.0, 1.0
    if (spacing < _SMALLEST_SPACING).any():
        raise BrokenInputError(
            str(path), f"has PixelSpacing {header.PixelSpacing}, expected numbers above 0"
        )
    rows, columns = spacing.tolist()
    return rows, columns


def _check_same(path: Path, header: Any, reference: Path, first: Any) -> None:
    for name in ("Rows", "Columns"):
        if header.get(name) != first.get(name):
            raise BrokenInputError(
                str(path),
                f"has {name} {header.get(name)}, but {reference.name} of the same "
                f"series {first.get(name)}",
            )
    for name, count in (("ImageOrientationPatient", 6), ("PixelSpacing", 2)):
        ours = _numbers(path, header, name, count)
        theirs = _numbers(reference, first, name, count)
        if ours is None or theirs is None:
            same = ours is theirs
        else:
            same = np.allclose(ours, theirs, atol=_DIRECTION_TOLERANCE)
        if not same:
            raise BrokenInputError(
                str(path),
                f"has another {name} than {reference.name} of the same series: "
                "it is no stack of parallel slices (a localiser, say)",
            )


def _step(
    ordered: Sequence[Path],
    heights: Sequence[float],
    positions: dict[Path, np.ndarray],
    normal: np.ndarray,
) -> np.ndarray:
    """Return the way from one slice to the next in millimetres, which is the same for all."""
    if len(ordered) == 1:
        return normal
    gaps = np.diff(heights)
    usual = float(np.sort(gaps)[(len(gaps) - 1) // 2])  # of two, the smaller: slices get lost
    for before, after, gap in zip(ordered, ordered[1:], gaps.tolist(), strict=False):
        if gap <= 1e-4:
            raise BrokenInputError(
                str(after),
                f"lies where {before.name} lies: the series has several images of one "
                "place (phases or echoes); give one of them",
            )
        if abs(gap - usual) > _SPACING_TOLERANCE * usual:
            raise BrokenInputError(
                str(after),
                f"lies {gap:.2f} mm after {before.name}, the others {usual:.2f} mm "
                "apart: a slice is missing, or they overlap",
            )
    way = positions[ordered[-1]] - positions[ordered[0]]
    step: np.ndarray = way / (len(ordered) - 1)
    return step


def _pixels(path: Path) -> np.ndarray:
    pydicom = need("pydicom")
    try:
        with _Bounded(path) as file:
            dataset = pydicom.dcmread(file)
        stored = dataset.pixel_array
        values = pydicom.pixels.apply_modality_lut(stored, dataset)
    except _unreadable(pydicom) as error:
        reason = " ".join(str(error).split())
        raise BrokenInputError(str(path), f"its pixels cannot be decoded ({reason})") from error
    if values.ndim != 2:
        raise BrokenInputError(str(path), f"has pixels of shape {values.shape}, expected two axes")
    values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise BrokenInputError(str(path), "holds values that are not finite")
    inverted = dataset.get("PhotometricInterpretation") == "MONOCHROME1"
    result: np.ndarray = -values if inverted else values
    return result
