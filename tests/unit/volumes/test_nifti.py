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
        (np.zeros((2, 2, 2, 3), np.int16), r"its shape is \(2, 2, 2, 3\); save the part"),
        (np.full((2, 2, 2), np.nan, np.float32), r"8 of 8 voxels \(8 NaN, 0 infinite\)"),
        (np.float32([[[np.nan, np.inf, 3]]]), r"2 of 3 voxels \(1 NaN, 1 infinite\)"),
    ],
)
def test_what_is_no_volume_is_refused(tmp_path: Path, voxels: np.ndarray, reason: str):
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "v.nii")
    with pytest.raises(BrokenInputError, match=reason):
        read_nifti(tmp_path / "v.nii")


@pytest.mark.parametrize("slope", [2.0, -2.0])
def test_nan_is_background_and_told(tmp_path: Path, slope: float, caplog: pytest.LogCaptureFixture):
    voxels = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    voxels[0, 0, :2] = np.nan
    image = nib.Nifti1Image(voxels, AFFINE)
    nib.save(image, tmp_path / "plain.nii")
    # nibabel scales floats on saving only if the header is written by hand.
    data = bytearray((tmp_path / "plain.nii").read_bytes())
    data[112:120] = struct.pack("<ff", slope, 1.0)  # scl_slope, scl_inter
    (tmp_path / "v.nii").write_bytes(data)
    read = read_nifti(tmp_path / "v.nii").voxels
    known = ~np.isnan(voxels)
    np.testing.assert_array_equal(read[known], voxels[known] * slope + 1)
    assert (read[~known] == read[known].min()).all()
    (told,) = caplog.messages
    assert "v.nii: 2 of its 24 voxels hold NaN; they are taken for background" in told


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_two_axes_are_one_slice(tmp_path: Path, suffix: str):
    pixels = np.arange(12, dtype=np.int16).reshape(3, 4)
    path = save(tmp_path / f"v{suffix}", pixels, 1, 1)
    volume = read_nifti(path)
    np.testing.assert_array_equal(volume.voxels, pixels[..., None])
    write_nifti(tmp_path / "m.nii", volume.voxels > 5, volume)
    written = nib.load(tmp_path / "m.nii")
    np.testing.assert_array_equal(np.asanyarray(written.dataobj)[..., 0], pixels > 5)
    np.testing.assert_array_equal(written.affine, nib.load(path).affine)


def test_what_nibabel_mends_is_told_with_the_name(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
):
    path = save(tmp_path / "v.nii", np.zeros((3, 4, 5), np.int16), 1, 1)
    data = bytearray(path.read_bytes())
    data[:4] = struct.pack("<i", 347)
    path.write_bytes(data)
    read_nifti(path)
    (told,) = caplog.messages
    assert told.startswith(f"{path}: its header is not as it should be (nibabel: sizeof_hdr")
    assert "sizeof_hdr" not in capfd.readouterr().err.replace(told, "")


def test_a_mask_of_another_format_is_refused(tmp_path: Path):
    volume = read_nifti(save(tmp_path / "v.nii", np.zeros((3, 4, 5), np.int16), 1, 1))
    with pytest.raises(ValueError, match=r"x\.png .* must end in \.nii or \.nii\.gz"):
        write_nifti(tmp_path / "x.png", np.zeros((3, 4, 5), bool), volume)
    assert not (tmp_path / "x.png").exists()


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
