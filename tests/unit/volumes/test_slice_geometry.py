from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes.slice_geometry import place_slices

AXIAL = (1.0, 0, 0, 0, 1, 0)
SPACING = (0.9, 0.7)  # between rows, between columns


class Header(SimpleNamespace):
    """A header with attributes and pydicom's way to ask for them."""

    def get(self, name: str, default: object = None) -> object:
        return getattr(self, name, default)


def slices(positions: Sequence[Sequence[float]], **own: object) -> dict[Path, Header]:
    """Return headers of slices of 200 rows and 100 columns; ``own`` are of the second."""
    headers = {
        Path(f"{number}.dcm"): Header(
            Rows=200,
            Columns=100,
            ImagePositionPatient=list(position),
            ImageOrientationPatient=list(AXIAL),
            PixelSpacing=list(SPACING),
        )
        for number, position in enumerate(positions)
    }
    vars(headers[Path("1.dcm")]).update(own)
    return headers


def _affine() -> np.ndarray:
    affine = np.diag([-0.7, -0.9, 2.0, 1.0])
    affine[:3, 3] = -10, -20, 0
    return affine


def stack(count: int, gap: float = 2.0) -> np.ndarray:
    return np.array([[10.0, 20.0, gap * number] for number in range(count)])


@pytest.mark.parametrize("moved", [(0.16, 0, 0), (0, -0.2, 0), (0, 0, 0.45), (-0.1, 0.1, -0.3)])
def test_slices_that_lie_within_a_quarter_of_a_voxel_make_a_volume(moved: tuple[float, ...]):
    positions = stack(9)
    positions[1] += moved
    ordered, affine = place_slices(slices(positions))
    assert [path.name for path in ordered] == [f"{number}.dcm" for number in range(9)]
    np.testing.assert_allclose(
        affine, [[-0.7, 0, 0, -10], [0, -0.9, 0, -20], [0, 0, 2, 0], [0, 0, 0, 1]]
    )


@pytest.mark.parametrize(
    ("moved", "reason"),
    [
        ((20.0, 0, 0), "lies 28.57 voxels from where"),  # beside the others, at the right height
        ((0, 0.25, 0), "lies 0.28 voxels from where"),
        ((0, 0, 0.6), "mm after 0.dcm, the others"),
    ],
)
def test_a_slice_that_lies_beside_the_others_is_named(moved: tuple[float, ...], reason: str):
    positions = stack(9)
    positions[1] += moved
    with pytest.raises(BrokenInputError, match=rf"^1.dcm: .*{re.escape(reason)}"):
        place_slices(slices(positions))


def test_gaps_that_drift_apart_are_found():
    # Each is within 4 % of the usual one, but the middle of the stack lies half a voxel off.
    gaps = np.linspace(2.4, 2.6, 60)
    positions = np.zeros((61, 3))
    positions[1:, 2] = np.cumsum(gaps)
    with pytest.raises(BrokenInputError, match="voxels from where slices at equal distances"):
        place_slices(slices(positions))


def test_positions_written_with_one_decimal_make_a_volume():
    # 0.625 mm apart: 0.6 and 0.7 by turns, a twentieth of a millimetre off at most.
    positions = stack(40, 0.625).round(1)
    _, affine = place_slices(slices(positions))
    assert affine[2, 2] == pytest.approx(0.625, abs=2e-3)


@pytest.mark.parametrize("count", [3, 4, 5, 40])
@pytest.mark.parametrize("part", [0.0, 0.5, 0.9])
def test_a_missing_slice_is_found_wherever_it_is(count: int, part: float):
    positions = stack(count + 1)
    missing = 1 + int(part * (count - 1))
    headers = slices(np.delete(positions, missing, axis=0))
    with pytest.raises(BrokenInputError, match=r"lies 4.00 mm after .* a slice is missing"):
        place_slices(headers)


@pytest.mark.parametrize(
    ("own", "is_same"),
    [
        ({"PixelSpacing": [0.9, 0.7001]}, True),  # 100 columns: a hundredth of a millimetre
        ({"PixelSpacing": [0.9, 0.702]}, False),
        ({"PixelSpacing": [0.9005, 0.7]}, True),  # 200 rows: a tenth of a millimetre
        ({"PixelSpacing": [0.901, 0.7]}, False),
        ({"ImageOrientationPatient": [1, 3e-4, 0, -3e-4, 1, 0]}, True),
        ({"ImageOrientationPatient": [1, 9e-4, 0, -9e-4, 1, 0]}, False),
    ],
)
def test_slices_are_parallel_if_their_far_corners_agree(own: dict[str, object], is_same: bool):
    headers = slices(stack(5), **own)
    if is_same:
        place_slices(headers)
        return
    (name,) = own
    with pytest.raises(BrokenInputError, match=rf"^1.dcm: has another {name} than 0.dcm"):
        place_slices(headers)


# Images without a place


def radiograph(**tags: object) -> np.ndarray:
    _, affine = place_slices({Path("cr.dcm"): Header(Rows=200, Columns=100, **tags)})
    return affine


@pytest.mark.parametrize(
    ("tags", "spacing"),
    [
        ({}, (1, 1)),
        ({"PixelSpacing": [0, 0]}, (1, 1)),
        ({"PixelSpacing": [0, 0], "ImagerPixelSpacing": [0.2, 0.1]}, (0.2, 0.1)),
        ({"PixelSpacing": [0.3, 0.4], "ImagerPixelSpacing": [0.2, 0.1]}, (0.3, 0.4)),
        ({"NominalScannedPixelSpacing": [0.2, 0.1]}, (0.2, 0.1)),
    ],
)
def test_a_radiograph_is_as_large_as_the_first_spacing_that_is_known(
    tags: dict[str, object], spacing: tuple[float, float]
):
    rows, columns = spacing
    np.testing.assert_allclose(np.diag(radiograph(**tags)), [-columns, -rows, 1, 1])


@pytest.mark.parametrize("name", ["PixelSpacing", "ImagerPixelSpacing"])
@pytest.mark.parametrize("value", [[0.2, 0], [-1, -1], [1, 2, 3]])
def test_a_spacing_that_makes_no_sense_is_named(name: str, value: list[float]):
    with pytest.raises(BrokenInputError, match=rf"^cr.dcm: has {name} "):
        radiograph(**{name: value})
