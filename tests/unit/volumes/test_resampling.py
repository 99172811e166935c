from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from syncsam_lightning.volumes import Volume
from syncsam_lightning.volumes.place import Place, is_sheared, place_of
from syncsam_lightning.volumes.resampling import orthogonal_grid, resampled

TILT = np.deg2rad(20)
SHAPE = (24, 20, 12)
AXES = [(0, 1, 2), (2, 0, 1), (1, 2, 0), (0, 2, 1)]


def tilted(axes: tuple[int, int, int] = (0, 1, 2)) -> np.ndarray:
    """Slices 3 mm apart along their normal, each moved by the tilt; then the axes permuted."""
    affine = np.diag([-0.8, -0.8, 3.0, 1.0])
    affine[1, 2] = 3 * np.tan(TILT)
    affine[:3, 3] = 9, 7, -30
    affine[:, :3] = affine[:, list(axes)]
    return affine


def ball(affine: np.ndarray, shape: tuple[int, ...], radius: float = 6.0) -> np.ndarray:
    """A ball in the patient, drawn on whatever grid."""
    at = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    middle = (tilted() @ [12, 10, 6, 1])[:3]
    inside: np.ndarray = np.linalg.norm(at - middle, axis=-1) <= radius
    return inside


@pytest.mark.parametrize("axes", AXES)
def test_the_grid_is_at_right_angles_and_keeps_the_slices(axes: tuple[int, int, int]):
    shape = tuple(SHAPE[axis] for axis in axes)
    place = Place(shape, tilted(axes))
    grid = orthogonal_grid(place)
    assert is_sheared(place)
    assert not is_sheared(grid)
    columns = grid.affine[:3, :3]
    np.testing.assert_allclose(
        columns.T @ columns, np.diag(np.diag(columns.T @ columns)), atol=1e-9
    )
    spacing = np.linalg.norm(columns, axis=0)
    np.testing.assert_allclose(spacing, [(0.8, 0.8, 3.0)[axis] for axis in axes])
    assert np.linalg.det(columns) == pytest.approx(np.linalg.det(place.affine[:3, :3]))
    # The tilt adds rows, no slices.
    grown = dict(zip(axes, grid.shape, strict=True))
    assert (grown[0], grown[2]) == (24, 12)
    assert grown[1] == 20 + np.ceil(11 * 3 * np.tan(TILT) / 0.8)


@pytest.mark.parametrize("axes", AXES)
def test_all_of_the_volume_is_covered(axes: tuple[int, int, int]):
    place = Place(tuple(SHAPE[axis] for axis in axes), tilted(axes))
    grid = orthogonal_grid(place)
    corners = np.array([(*at, 1) for at in product(*((0, n - 1) for n in place.shape))])
    inside = np.linalg.solve(grid.affine, place.affine @ corners.T)[:3].T
    assert (inside > -1e-6).all()
    assert (inside < np.array(grid.shape) - 1 + 1e-2).all()


@pytest.mark.parametrize("axes", AXES)
def test_a_mask_lies_where_it_lay_in_the_patient(axes: tuple[int, int, int]):
    affine = tilted(axes)
    shape = tuple(SHAPE[axis] for axis in axes)
    found = resampled(Volume(ball(affine, shape), affine))
    truth = ball(found.affine, found.voxels.shape)
    assert found.voxels.dtype == bool
    overlap = 2 * (found.voxels & truth).sum() / (found.voxels.sum() + truth.sum())
    assert overlap > 0.95
    drawn = ball(affine, shape).sum() * Volume(np.zeros(shape), affine).voxel_volume
    assert found.voxels.sum() * found.voxel_volume == pytest.approx(drawn, rel=0.03)


def test_a_mask_that_fills_its_volume_keeps_its_edge():
    mask = np.ones(SHAPE, bool)
    found = resampled(Volume(mask, tilted()))
    assert abs(int(found.voxels.sum()) - mask.sum()) <= mask.sum() // SHAPE[1]
    assert found.voxels.any(axis=(1, 2)).all()
    assert found.voxels.any(axis=(0, 1)).all()


def test_intensities_are_interpolated_linearly():
    affine = tilted()
    at = np.moveaxis(np.indices(SHAPE), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    found = resampled(Volume(at[..., 1], affine))  # millimetres to the front
    grid = np.moveaxis(np.indices(found.voxels.shape), 0, -1) @ found.affine[:3, :3].T
    grid = grid + found.affine[:3, 3]
    inside = resampled(Volume(np.ones(SHAPE), affine)).voxels > 1 - 1e-9
    assert inside.mean() > 0.5
    np.testing.assert_allclose(found.voxels[inside], grid[..., 1][inside], atol=1e-6)


def test_what_is_no_part_of_the_picture_is_none_afterwards_and_spoils_nothing_beside_it():
    voxels = np.full(SHAPE, 7, np.float32)
    whole = resampled(Volume(voxels, tilted())).voxels
    voxels[:2] = -np.inf
    found = resampled(Volume(voxels, tilted())).voxels
    assert not np.isnan(found).any()
    is_padding = np.isneginf(found)
    assert is_padding.any()
    # What mixes with padding alone keeps its value; what mixes with the outside does as before.
    within = ~is_padding & (whole == 7)
    np.testing.assert_allclose(found[within], 7, rtol=1e-5)
    assert within.sum() > 0.5 * (whole == 7).sum()


def test_a_straight_volume_stays_as_it_is():
    affine = np.diag([-0.8, 0.7, 3.0, 1.0])
    volume = Volume(np.random.default_rng(0).integers(0, 99, SHAPE), affine)
    found = resampled(volume)
    np.testing.assert_array_equal(found.voxels, volume.voxels)
    np.testing.assert_allclose(found.affine, affine)
    assert place_of(found).shape == SHAPE


def test_padding_stays_padding_and_does_not_spread():
    voxels = np.full(SHAPE, 40, np.float32)
    voxels[:5] = -np.inf
    found = resampled(Volume(voxels, tilted())).voxels
    assert not np.isnan(found).any()
    assert np.isneginf(found[:5]).all()
    assert set(np.unique(found)) == {-np.inf, np.float32(40)}
    covered = resampled(Volume(np.isfinite(voxels), tilted())).voxels
    np.testing.assert_array_equal(np.isfinite(found), covered)
