"""Where the slices of a DICOM series lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from syncsam_lightning.errors import BrokenInputError

# Degrees of freedom that scanners need: positions are written with few decimals.
_SPACING_TOLERANCE = 0.05
_DIRECTION_TOLERANCE = 1e-3


def place_slices(headers: Mapping[Path, Any]) -> tuple[list[Path], np.ndarray]:
    """Order slices by their position along their normal, and say where their voxels lie.

    Args:
        headers: of each slice, by what messages call it (``scan.dcm``, or ``scan.dcm[3]`` for a
            frame). A single one without a position lies at the origin.

    Returns:
        the slices in order, and ``(4, 4)`` float64 from column, row and slice to millimetres
        right, anterior, superior.

    Raises:
        BrokenInputError: they are no stack of parallel slices at equal distances; names the slice.
    """
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
