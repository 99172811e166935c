from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes import Volume
from syncsam_lightning.volumes.place import (
    CLOSE,
    Place,
    aligned,
    displacement,
    is_sheared,
    place_of,
)

SHAPE = (64, 48, 20)
IMAGE = Place(SHAPE, np.array([[-1.5, 0, 0, 90], [0, -1.5, 0, 80], [0, 0, 3, -20], [0, 0, 0, 1.0]]))


def labels(affine: np.ndarray, shape: tuple[int, ...] = SHAPE) -> Volume:
    return Volume(np.arange(np.prod(shape), dtype=np.int32).reshape(shape), affine)


def moved(shift: tuple[float, ...] = (0, 0, 0), scale: float = 1.0) -> np.ndarray:
    affine = IMAGE.affine.copy()
    affine[:3, :3] *= scale
    affine[:3, 3] += shift
    return affine


@pytest.mark.parametrize(
    ("affine", "voxels"),
    [
        (moved(), 0),
        (moved((0.02, 0, 0)), 0.02 / 1.5),
        (moved((0, 0, -0.75)), 0.25),
        (moved(scale=1.01), 0.63),
    ],
)
def test_displacement_is_that_of_the_farthest_corner_in_voxels(affine: np.ndarray, voxels: float):
    assert displacement(IMAGE, affine) == pytest.approx(voxels)


@pytest.mark.parametrize("affine", [moved(), moved((0.02, -0.02, 0.02)), moved((0, 0, 0.74))])
def test_labels_of_one_place_stay_as_they_are(affine: np.ndarray):
    found = aligned(labels(affine), IMAGE, "m.nii")
    np.testing.assert_array_equal(found.voxels, labels(affine).voxels)
    np.testing.assert_array_equal(found.affine, IMAGE.affine)


@pytest.mark.parametrize(
    ("affine", "distance"),
    [
        (moved((0.75, 0, 0)), "0.5"),  # half a voxel
        (moved(scale=1.02), "1.3"),  # 1.9 mm at the far corner
        (np.eye(4), "1.9e+02"),
    ],
)
def test_labels_that_lie_elsewhere_are_refused_with_the_distance(affine: np.ndarray, distance: str):
    with pytest.raises(BrokenInputError) as refusal:
        aligned(labels(affine), IMAGE, "m.nii")
    assert refusal.value.kind == "place mismatch"
    assert refusal.value.reason.startswith("lies elsewhere in space than its image: a corner is ")
    if affine[0, 0] < 0:
        assert f"is {distance} voxels away" in refusal.value.reason


@pytest.mark.parametrize("codes", ["RAS", "SPL", "IAR", "LPS", "PSR"])
def test_labels_in_another_order_of_axes_are_turned(codes: str):
    straight = labels(IMAGE.affine)
    turned = straight.oriented(codes)
    found = aligned(turned, IMAGE, "m.nii")
    np.testing.assert_array_equal(found.voxels, straight.voxels)
    assert np.shares_memory(found.voxels, turned.voxels)


def test_another_shape_is_told_as_it_is_stored():
    with pytest.raises(BrokenInputError, match=r"has shape \(64, 48, 19\), its image \(64, 48, 20"):
        aligned(labels(IMAGE.affine, (64, 48, 19)), IMAGE, "m.nii")


def test_axes_just_beside_the_diagonal_are_not_turned():
    # Rounded one way or the other, such axes have other names.
    turn = np.eye(4)
    angle = np.pi / 4
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    image = Place(SHAPE, turn)
    nearly = turn.copy()
    nearly[:2, :2] += [[1e-7, 0], [-1e-7, 0]]
    other = turn.copy()
    other[:2, :2] -= [[1e-7, 0], [-1e-7, 0]]
    assert nib.aff2axcodes(nearly) != nib.aff2axcodes(other)
    for affine in (nearly, other):
        found = aligned(labels(affine), image, "m.nii")
        np.testing.assert_array_equal(found.voxels, labels(affine).voxels)


@pytest.mark.parametrize(("shear", "told"), [(0, False), (1e-4, False), (0.01, False), (0.3, True)])
def test_a_shear_counts_from_a_quarter_of_a_voxel(shear: float, told: bool):
    affine = IMAGE.affine.copy()
    affine[1, 2] = shear
    assert is_sheared(Place(SHAPE, affine)) is told
    assert CLOSE == 0.25


def test_the_volume_of_a_voxel_is_the_determinant():
    affine = np.diag([2.0, 3, 4, 1])
    affine[1, 2] = 3  # a gantry tilted by 37 degrees: the way to the next slice is 5 mm long
    assert Volume(np.zeros((1, 1, 1)), affine).voxel_volume == pytest.approx(24)
    assert Volume(np.zeros((1, 1, 1)), affine).spacing == (2, 3, 5)
    assert place_of(Volume(np.zeros((1, 2, 3)), affine)).shape == (1, 2, 3)
