from __future__ import annotations

import gzip
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes.nifti import read_nifti, write_nifti

AFFINE = np.array([[0, -0.7, 0.1, 12], [1.5, 0, 0, -7], [0, 0.1, 3, 5], [0, 0, 0, 1.0]])


def save(path: Path, voxels: np.ndarray, qform: int, sform: int) -> Path:
    image = nib.Nifti1Image(voxels, AFFINE)
    image.set_qform(AFFINE, code=qform)
    image.set_sform(AFFINE, code=sform)
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, path)
    return path


@pytest.mark.parametrize(("qform", "sform"), [(1, 0), (0, 2), (0, 0)])
def test_a_header_that_places_its_voxels_nowhere_is_told(
    tmp_path: Path, qform: int, sform: int, caplog: pytest.LogCaptureFixture
):
    path = save(tmp_path / "v.nii", np.zeros((3, 4, 5), np.int16), qform, sform)
    volume = read_nifti(path)
    if qform or sform:
        assert caplog.messages == []
    else:
        (told,) = caplog.messages
        assert told.startswith(f"{path} does not say how the patient lies in it")
        assert "to the left, the front and the top" in told
        assert nib.aff2axcodes(volume.affine) == ("L", "A", "S")


@pytest.mark.parametrize(("qform", "sform"), [(1, 1), (0, 2), (3, 0), (0, 0)])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_mask_lies_exactly_where_its_volume_lies(
    tmp_path: Path, qform: int, sform: int, suffix: str
):
    path = save(tmp_path / f"v{suffix}", np.zeros((3, 4, 5), np.int16), qform, sform)
    mask = np.zeros((3, 4, 5), bool)
    mask[1, 2, 3] = True
    write_nifti(tmp_path / f"m{suffix}", mask, read_nifti(path))
    before, after = nib.load(path), nib.load(tmp_path / f"m{suffix}")
    np.testing.assert_array_equal(after.affine, before.affine)
    np.testing.assert_array_equal(after.get_sform(), before.get_sform())
    np.testing.assert_array_equal(after.get_qform(), before.get_qform())
    for key in ("qform_code", "sform_code", "xyzt_units", "pixdim"):
        np.testing.assert_array_equal(after.header[key], before.header[key])
    assert after.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asanyarray(after.dataobj), mask)


def test_the_scaling_of_the_header_is_applied_to_the_volume_and_not_to_the_mask(tmp_path: Path):
    image = nib.Nifti1Image(np.array([[[0, 1, 2]]], np.int16), np.eye(4))
    image.header.set_slope_inter(2, -10)
    nib.save(image, tmp_path / "v.nii")
    volume = read_nifti(tmp_path / "v.nii")
    loaded = nib.load(tmp_path / "v.nii")
    np.testing.assert_array_equal(volume.voxels, np.asanyarray(loaded.dataobj))
    write_nifti(tmp_path / "m.nii", np.ones((1, 1, 3), bool), volume)
    assert nib.load(tmp_path / "m.nii").get_fdata().tolist() == [[[1, 1, 1]]]


def test_a_fourth_axis_of_one_is_dropped(tmp_path: Path):
    nib.save(nib.Nifti1Image(np.ones((2, 3, 4, 1), np.int16), np.eye(4)), tmp_path / "v.nii")
    volume = read_nifti(tmp_path / "v.nii")
    assert volume.voxels.shape == (2, 3, 4)
    write_nifti(tmp_path / "m.nii", np.ones((2, 3, 4), bool), volume)
    assert nib.load(tmp_path / "m.nii").shape == (2, 3, 4)


def test_the_orientation_is_that_of_the_affine(tmp_path: Path):
    path = save(tmp_path / "v.nii", np.zeros((3, 4, 5), np.int16), 1, 1)
    assert read_nifti(path).orientation == "ALS"
    np.testing.assert_allclose(read_nifti(path).spacing, (1.5, 0.7071, 3.0017), atol=1e-3)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(BrokenInputError, match=r"x\.nii: file not found"):
        read_nifti(tmp_path / "x.nii")


@pytest.mark.parametrize(
    ("voxels", "reason"),
    [
        (np.zeros((2, 2, 2, 3), np.int16), "not a volume"),
        (np.full((2, 2, 2), np.nan, np.float32), "not finite"),
    ],
)
def test_what_is_no_volume_is_refused(tmp_path: Path, voxels: np.ndarray, reason: str):
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "v.nii")
    with pytest.raises(BrokenInputError, match=reason):
        read_nifti(tmp_path / "v.nii")


def test_a_damaged_file_is_refused(tmp_path: Path):
    path = save(
        tmp_path / "v.nii.gz",
        np.random.default_rng(0).integers(0, 9, (9, 9, 9)).astype(np.int16),
        1,
        1,
    )
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(BrokenInputError, match=r"v\.nii\.gz"):
        read_nifti(path)


def test_a_mask_of_another_shape_is_refused(tmp_path: Path):
    volume = read_nifti(save(tmp_path / "v.nii", np.zeros((3, 4, 5), np.int16), 1, 1))
    with pytest.raises(ValueError, match="shape"):
        write_nifti(tmp_path / "m.nii", np.zeros((3, 4, 4), bool), volume)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_header_that_declares_more_than_the_file_can_hold_is_refused(tmp_path: Path, suffix: str):
    # Found by fuzzing: nibabel makes room for what is declared before it reads.
    image = nib.Nifti1Image(np.zeros((2, 3, 4), np.float64), np.eye(4))
    header = bytearray(image.to_bytes())
    header[40:56] = struct.pack("<8h", 3, 1290, 1290, 1290, 1, 1, 1, 1)
    path = tmp_path / f"v{suffix}"
    path.write_bytes(gzip.compress(bytes(header)) if suffix.endswith("gz") else bytes(header))
    with pytest.raises(BrokenInputError, match=r"declares 17173512352 bytes, which its \d+ bytes"):
        read_nifti(path)


@pytest.mark.parametrize("width", [-32768, 0])
def test_a_shape_that_is_none_is_refused(tmp_path: Path, width: int):
    data = bytearray(nib.Nifti1Image(np.zeros((2, 3, 4), np.int16), np.eye(4)).to_bytes())
    data[40:56] = struct.pack("<8h", 3, width, 3, 4, 1, 1, 1, 1)
    (tmp_path / "v.nii").write_bytes(data)
    with pytest.raises(BrokenInputError, match=r"v\.nii: "):
        read_nifti(tmp_path / "v.nii")


def test_an_axis_that_hardly_has_a_length_is_refused(tmp_path: Path):
    # Found by fuzzing: such an affine has an inverse, but its axis leads nowhere.
    affine = np.diag([1e9, 1e-9, 1e-9, 1])
    affine[0, 1:3] = 1e9
    image = nib.Nifti1Image(np.zeros((2, 3, 4), np.int16), None)
    image.header.set_sform(affine, code=1)
    nib.save(image, tmp_path / "v.nii")
    with pytest.raises(BrokenInputError, match="its affine does not span three axes"):
        read_nifti(tmp_path / "v.nii")
