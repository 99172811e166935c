"""Where the slices of a DICOM series lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes.dicom_header import numbers
from syncsam_lightning.volumes.volume import spans_space

# Degrees of freedom that scanners need: positions are written with few decimals.
_SPACING_TOLERANCE = 0.05
_DIRECTION_TOLERANCE = 1e-3
_NORMAL_TOLERANCE = 0.01
_SMALLEST_SPACING = 1e-6  # millimetres; what is less is damage, and an affine without an inverse


def place_slices(headers: Mapping[Path, Any]) -> tuple[list[Path], np.ndarray]:
    """Order slices by their position along their normal, and say where their voxels lie.

    Args:
        headers: of each slice, by what messages call it (``scan.dcm``, or ``scan.dcm[3]`` for a
            frame). A single one without a position lies at the origin. A single one is as thick as
            SpacingBetweenSlices says, else SliceThickness (PS3.3 C.7.6.2), else 1 mm.

    Returns:
        the slices in order, and ``(4, 4)`` float64 from column, row and slice to millimetres
        right, anterior, superior.

    Raises:
        BrokenInputError: they are no stack of parallel slices at equal distances, or a distance is
            no number above 0; names the slice.
    """
    paths = list(headers)
    first = headers[paths[0]]
    positions: dict[Path, np.ndarray] = {}
    directions: dict[Path, np.ndarray] = {}
    for path, header in headers.items():
        position = numbers(path, header, "ImagePositionPatient", 3)
        direction = numbers(path, header, "ImageOrientationPatient", 6)
        if position is not None and direction is not None:
            positions[path], directions[path] = position, direction
        elif len(paths) > 1:
            raise BrokenInputError(str(path), "does not say where in the patient it lies")
        else:
            rows, columns = _pixel_spacing(path, header)
            return paths, np.diag([-columns, -rows, _thickness(path, header), 1.0])
    along_row, along_column = directions[paths[0]].reshape(2, 3)
    normal = np.cross(along_row, along_column)
    if abs(np.linalg.norm(normal) - 1) > _NORMAL_TOLERANCE:
        given = first.ImageOrientationPatient
        reason = f"has ImageOrientationPatient {given}, expected two directions at right angles"
        raise BrokenInputError(str(paths[0]), reason)
    for path, header in headers.items():
        _check_same(path, header, paths[0], first)
    with np.errstate(over="ignore", invalid="ignore"):  # told below
        heights = {path: float(position @ normal) for path, position in positions.items()}
        ordered = sorted(paths, key=lambda path: (heights[path], path))
        if len(paths) == 1:
            step = normal * _thickness(paths[0], first)
        else:
            step = _step(ordered, [heights[path] for path in ordered], positions)
    rows, columns = _pixel_spacing(paths[0], first)
    to_patient = np.eye(4)
    to_patient[:3, 0] = along_row * columns
    to_patient[:3, 1] = along_column * rows
    to_patient[:3, 2] = step
    to_patient[:3, 3] = positions[ordered[0]]
    if not spans_space(to_patient):
        raise BrokenInputError(
            str(ordered[-1]),
            "its series makes no volume: positions and PixelSpacing do not span three axes",
        )
    # DICOM counts left and posterior as positive, NIfTI right and anterior.
    return ordered, np.diag([-1.0, -1.0, 1.0, 1.0]) @ to_patient


def _pixel_spacing(path: Path, header: Any) -> tuple[float, float]:
    """Return the distances between rows and between columns; 1 if they are not known."""
    spacing = numbers(path, header, "PixelSpacing", 2)
    if spacing is None:
        return 1.0, 1.0
    if (spacing < _SMALLEST_SPACING).any():
        raise BrokenInputError(
            str(path), f"has PixelSpacing {header.PixelSpacing}, expected numbers above 0"
        )
    rows, columns = spacing.tolist()
    return rows, columns


def _thickness(path: Path, header: Any) -> float:
    """Return how far a slice without neighbours reaches; 1 mm if it is not known."""
    for name in ("SpacingBetweenSlices", "SliceThickness"):
        given = numbers(path, header, name, 1)
        if given is None:
            continue
        if given[0] < _SMALLEST_SPACING:
            raise BrokenInputError(
                str(path), f"has {name} {header.get(name)}, expected a number above 0"
            )
        return float(given[0])
    return 1.0


def _check_same(path: Path, header: Any, reference: Path, first: Any) -> None:
    for name in ("Rows", "Columns"):
        if header.get(name) != first.get(name):
            raise BrokenInputError(
                str(path),
                f"has {name} {header.get(name)}, but {reference.name} of the same "
                f"series {first.get(name)}",
            )
    for name, count in (("ImageOrientationPatient", 6), ("PixelSpacing", 2)):
        ours = numbers(path, header, name, count)
        theirs = numbers(reference, first, name, count)
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
) -> np.ndarray:
    """Return the way from one slice to the next in millimetres, which is the same for all."""
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
