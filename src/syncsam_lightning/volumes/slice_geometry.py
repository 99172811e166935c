"""Where the slices of a DICOM series lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes.dicom_header import numbers
from syncsam_lightning.volumes.place import CLOSE
from syncsam_lightning.volumes.volume import spans_space

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
    planes: dict[Path, tuple[np.ndarray, np.ndarray]] = {}
    for path, header in headers.items():
        position = numbers(path, header, "ImagePositionPatient", 3)
        direction = numbers(path, header, "ImageOrientationPatient", 6)
        if position is not None and direction is not None:
            positions[path] = position
            planes[path] = _plane(path, header, direction.reshape(2, 3))
        elif len(paths) > 1:
            raise BrokenInputError(
                str(path),
                "does not say where in the patient it lies, as slices of a series do: if it is an "
                "image of its own (a radiograph), give its file, not the folder",
            )
        else:
            rows, columns = pixel_spacing(path, header) or (1.0, 1.0)
            return paths, np.diag([-columns, -rows, _thickness(path, header), 1.0])
    directions, spacing = planes[paths[0]]
    normal = np.cross(*directions)
    for path, header in headers.items():
        _check_same_size(path, header, paths[0], first)
        _check_same_plane(path, header, planes[path], paths[0], (directions, spacing))
    with np.errstate(over="ignore", invalid="ignore"):  # told below
        heights = {path: float(position @ normal) for path, position in positions.items()}
        ordered = sorted(paths, key=lambda path: (heights[path], path))
        if len(paths) == 1:
            step = normal * _thickness(paths[0], first)
        else:
            step = (positions[ordered[-1]] - positions[ordered[0]]) / (len(ordered) - 1)
    to_patient = np.eye(4)
    to_patient[:3, :2] = (directions * spacing[:, None]).T
    to_patient[:3, 2] = step
    to_patient[:3, 3] = positions[ordered[0]]
    _check_gaps(ordered, [heights[path] for path in ordered])
    if not spans_space(to_patient):
        raise BrokenInputError(
            str(ordered[-1]),
            "its series makes no volume: positions and PixelSpacing do not span three axes",
        )
    _check_places(ordered, [positions[path] for path in ordered], to_patient)
    # DICOM counts left and posterior as positive, NIfTI right and anterior.
    return ordered, np.diag([-1.0, -1.0, 1.0, 1.0]) @ to_patient


def film_affine(path: Path, header: Any) -> np.ndarray:
    """Return where the frames of a film are said to lie: as slices in their order.

    They are a millimetre apart, or a pixel where that is more, so that no other axis is taken for
    the one across the frames. ITK counts them as a millimetre apart, too.

    Raises:
        BrokenInputError: PixelSpacing is not two numbers above 0.
    """
    rows, columns = pixel_spacing(path, header) or (1.0, 1.0)
    return np.diag([-columns, -rows, max(1.0, rows, columns), 1.0])


def _plane(path: Path, header: Any, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the directions to the next column and row ``(2, 3)``, and these steps in mm ``(2,)``.

    PixelSpacing stands the other way round: the distance between rows comes first.
    """
    normal = np.cross(*directions)
    if abs(np.linalg.norm(normal) - 1) > _NORMAL_TOLERANCE:
        given = header.ImageOrientationPatient
        reason = f"has ImageOrientationPatient {given}, expected two directions at right angles"
        raise BrokenInputError(str(path), reason)
    spacing = pixel_spacing(path, header) or (1.0, 1.0)
    return directions, np.array(spacing[::-1])


def _numbers_above_0(path: Path, header: Any, name: str) -> tuple[float, float] | None:
    spacing = numbers(path, header, name, 2)
    if spacing is None:
        return None
    if (spacing < _SMALLEST_SPACING).any():
        raise BrokenInputError(
            str(path), f"has {name} {header.get(name)}, expected numbers above 0"
        )
    rows, columns = spacing.tolist()
    return rows, columns


def pixel_spacing(path: Path, header: Any) -> tuple[float, float] | None:
    """Return the distances between rows and between columns of a slice in mm.

    Of an image without a place, such as a radiograph, PixelSpacing may be missing or 0: the spacing
    on the detector or of the scanned film does then (PS3.3 10.7.1.3).

    Returns:
        None if they are not known.

    Raises:
        BrokenInputError: they are not two numbers above 0.
    """
    if numbers(path, header, "ImagePositionPatient", 3) is not None:
        return _numbers_above_0(path, header, "PixelSpacing")
    for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        given = numbers(path, header, name, 2)
        if given is not None and given.any():
            return _numbers_above_0(path, header, name)
    return None


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


def _check_same_size(path: Path, header: Any, reference: Path, first: Any) -> None:
    for name in ("Rows", "Columns"):
        if header.get(name) != first.get(name):
            raise BrokenInputError(
                str(path),
                f"has {name} {header.get(name)}, but {reference.name} of the same "
                f"series {first.get(name)}",
            )


def _check_same_plane(
    path: Path,
    header: Any,
    plane: tuple[np.ndarray, np.ndarray],
    reference: Path,
    expected: tuple[np.ndarray, np.ndarray],
) -> None:
    """Refuse a slice whose far corner would not lie on that of the first, were it moved there."""
    size = np.array([int(header.Columns), int(header.Rows)])
    spacing = expected[1]
    turned = np.linalg.norm(plane[0] - expected[0], axis=1) * spacing
    for name, moved in (
        ("ImageOrientationPatient", turned),
        ("PixelSpacing", np.abs(plane[1] - spacing)),
    ):
        if moved @ size > CLOSE * spacing.min():
            raise BrokenInputError(
                str(path),
                f"has another {name} than {reference.name} of the same series: "
                "it is no stack of parallel slices (a localiser, say)",
            )


def _check_gaps(ordered: Sequence[Path], heights: Sequence[float]) -> None:
    """Refuse slices of one place, or of which one is missing."""
    gaps = np.diff(heights)
    if not len(gaps):
        return
    usual = float(np.sort(gaps)[(len(gaps) - 1) // 2])  # of two, the smaller: slices get lost
    even = np.linspace(heights[0], heights[-1], len(heights))
    is_even = np.abs(np.asarray(heights) - even) <= CLOSE * usual
    for before, after, gap, fits in zip(
        ordered, ordered[1:], gaps.tolist(), (is_even[:-1] & is_even[1:]).tolist(), strict=False
    ):
        if gap <= 1e-4:
            raise BrokenInputError(
                str(after),
                f"lies where {before.name} lies: the series has several images of one "
                "place (phases or echoes); give one of them",
            )
        if not fits and abs(gap - usual) > CLOSE * usual:
            raise BrokenInputError(
                str(after),
                f"lies {gap:.2f} mm after {before.name}, the others {usual:.2f} mm "
                "apart: a slice is missing, or they overlap",
            )


def _check_places(
    ordered: Sequence[Path], positions: Sequence[np.ndarray], to_patient: np.ndarray
) -> None:
    """Refuse slices that lie beside where the volume says, along any of its axes."""
    to_voxels = np.linalg.inv(to_patient)
    for k, (path, position) in enumerate(zip(ordered, positions, strict=True)):
        moved = to_voxels[:3] @ [*position, 1.0] - [0, 0, k]
        if np.abs(moved).max() > CLOSE:
            raise BrokenInputError(
                str(path),
                f"lies {np.abs(moved).max():.2f} voxels from where slices at equal distances on "
                "a straight line would: they make no volume",
            )
