"""DICOM series: finding them, and reading one as a volume."""

from __future__ import annotations

import importlib
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
# Degrees of freedom that scanners need: positions are written with few decimals.
_SPACING_TOLERANCE = 0.05
_DIRECTION_TOLERANCE = 1e-3


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
    shape = (int(first.Columns), int(first.Rows), len(ordered))
    if np.prod(shape, dtype=np.float64) > MAX_VOXELS:
        raise BrokenInputError(str(ordered[0]), f"its series has {shape} voxels, over the limit")
    slices = [_pixels(path) for path in ordered]
    voxels = np.stack(slices, axis=-1).swapaxes(0, 1)
    return Volume(voxels, affine, tuple(ordered), modality=str(first.get("Modality", "")))


def _header(path: Path) -> Any:
    pydicom = need("pydicom")
    try:
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
    except pydicom.errors.InvalidDicomError as error:
        raise BrokenInputError(str(path), "not a DICOM file") from error
    except (OSError, EOFError, ValueError, KeyError, NotImplementedError) as error:
        raise BrokenInputError(str(path), f"cannot be read ({error})") from error


def _check_image(path: Path, header: Any) -> None:
    if int(header.get("NumberOfFrames") or 1) > 1:
        raise BrokenInputError(
            str(path),
            "holds several frames; series of one image per file are read: split it up "
            "or convert it to NIfTI (dcm2niix does)",
        )
    if int(header.get("SamplesPerPixel") or 1) != 1:
        raise BrokenInputError(str(path), "is a colour image; save it as PNG to segment it")


def _place(headers: dict[Path, Any]) -> tuple[list[Path], np.ndarray]:
    """Return the files in order, and the affine of their voxels."""
    paths = list(headers)
    placed = [path for path in paths if _has_position(headers[path])]
    if len(placed) < len(paths):
        if len(paths) > 1:
            lost = next(path for path in paths if path not in placed)
            raise BrokenInputError(str(lost), "does not say where in the patient it lies")
        rows, columns = _pixel_spacing(headers[paths[0]])
        return paths, np.diag([-columns, -rows, 1.0, 1.0])
    first = headers[paths[0]]
    along_row, along_column = np.asarray(first.ImageOrientationPatient, np.float64).reshape(2, 3)
    normal = np.cross(along_row, along_column)
    for path, header in headers.items():
        _check_same(path, header, paths[0], first)
    positions = {p: np.asarray(h.ImagePositionPatient, np.float64) for p, h in headers.items()}
    heights = {path: float(position @ normal) for path, position in positions.items()}
    ordered = sorted(paths, key=lambda path: (heights[path], path))
    step = _step(ordered, [heights[path] for path in ordered], positions, normal)
    rows, columns = _pixel_spacing(first)
    to_patient = np.eye(4)
    to_patient[:3, 0] = along_row * columns
    to_patient[:3, 1] = along_column * rows
    to_patient[:3, 2] = step
    to_patient[:3, 3] = positions[ordered[0]]
    # DICOM counts left and posterior as positive, NIfTI right and anterior.
    return ordered, np.diag([-1.0, -1.0, 1.0, 1.0]) @ to_patient


def _has_position(header: Any) -> bool:
    position, direction = header.get("ImagePositionPatient"), header.get("ImageOrientationPatient")
    return position is not None and direction is not None and len(position) == 3


def _pixel_spacing(header: Any) -> tuple[float, float]:
    """Return the distances between rows and between columns."""
    rows, columns = header.get("PixelSpacing") or (1.0, 1.0)
    return float(rows), float(columns)


def _check_same(path: Path, header: Any, reference: Path, first: Any) -> None:
    for name in ("Rows", "Columns"):
        if header.get(name) != first.get(name):
            raise BrokenInputError(
                str(path),
                f"has {name} {header.get(name)}, but {reference.name} of the same "
                f"series {first.get(name)}",
            )
    for name in ("ImageOrientationPatient", "PixelSpacing"):
        ours, theirs = (np.asarray(h.get(name) or (), np.float64) for h in (header, first))
        if ours.shape != theirs.shape or not np.allclose(ours, theirs, atol=_DIRECTION_TOLERANCE):
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
        dataset = pydicom.dcmread(path)
        stored = dataset.pixel_array
        values = pydicom.pixels.apply_modality_lut(stored, dataset)
    except (
        OSError,
        EOFError,
        ValueError,
        KeyError,
        AttributeError,
        RuntimeError,
        NotImplementedError,
    ) as error:
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
