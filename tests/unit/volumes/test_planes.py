from __future__ import annotations

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from syncsam_lightning.volumes import PLANES, Volume, coarsest_plane, stack_of, unstacked

RAS = np.arange(2 * 3 * 4).reshape(2, 3, 4)  # right, anterior, superior


def volume(voxels: np.ndarray = RAS, affine: np.ndarray | None = None) -> Volume:
    return Volume(voxels, np.eye(4) if affine is None else affine, (Path("v.nii"),))


def test_an_axial_slice_has_front_up_and_the_patient_s_right_at_the_left():
    stack = stack_of(volume(), "axial")
    assert stack.shape == (4, 3, 2)
    assert stack[1, 0, 0] == RAS[1, 2, 1]  # row 0 is anterior, column 0 is right
    assert stack[1, 2, 1] == RAS[0, 0, 1]


def test_a_coronal_slice_has_superior_up():
    stack = stack_of(volume(), "coronal")
    assert stack.shape == (3, 4, 2)
    assert stack[2, 0, 0] == RAS[1, 2, 3]


def test_a_sagittal_slice_has_anterior_at_the_left():
    stack = stack_of(volume(), "sagittal")
    assert stack.shape == (2, 4, 3)
    assert stack[0, 0, 0] == RAS[0, 2, 3]


CODES = [
    "".join(c) for o in itertools.permutations(("RL", "AP", "SI")) for c in itertools.product(*o)
]


@pytest.mark.parametrize("codes", CODES)
def test_whatever_the_file_s_axes_the_planes_are_the_same_and_the_way_back_is_exact(codes: str):
    other = volume().oriented(codes)
    assert other.orientation == codes
    for plane in PLANES:
        stack = stack_of(other, plane)
        np.testing.assert_array_equal(stack, stack_of(volume(), plane))
        np.testing.assert_array_equal(unstacked(stack, other, plane), other.voxels)


def test_turning_a_volume_moves_no_voxel_in_space():
    affine = np.array([[-0.5, 0, 0, 9], [0, 0, 2, -3], [0, 1, 0, 4], [0, 0, 0, 1.0]])
    turned = volume(affine=affine).oriented("PIL")
    for index in itertools.product(*map(range, turned.voxels.shape)):
        (found,) = np.argwhere(turned.voxels[index] == RAS)
        np.testing.assert_allclose(
            nib.affines.apply_affine(turned.affine, index), nib.affines.apply_affine(affine, found)
        )


@pytest.mark.parametrize(
    ("spacing", "plane"),
    [((1, 1, 3), "axial"), ((3, 1, 1), "sagittal"), ((1, 2, 1), "coronal"), ((1, 1, 1), "axial")],
)
def test_the_plane_of_the_scan_is_the_coarsest(spacing: tuple[float, ...], plane: str):
    assert coarsest_plane(volume(affine=np.diag([*spacing, 1.0]))) == plane


@pytest.mark.parametrize(
    ("shape", "spacing", "plane"),
    [
        ((2, 3, 1), (3, 3, 1), "axial"),
        ((1, 3, 4), (1, 2, 3), "sagittal"),
        ((2, 1, 4), (2, 1, 3), "coronal"),
        ((1, 1, 4), (1, 2, 3), "coronal"),
    ],
)
def test_a_single_slice_is_looked_at_from_the_front_however_thin(
    shape: tuple[int, ...], spacing: tuple[float, ...], plane: str
):
    assert coarsest_plane(volume(np.zeros(shape), np.diag([*spacing, 1.0]))) == plane
