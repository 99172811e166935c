from __future__ import annotations

import gzip
import io
import struct
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes.stored import read_place, read_stored

VOXELS = np.arange(60, dtype=np.int16).reshape(4, 5, 3)
AFFINE = np.array([[0, 2.0, 0, 5], [-1.0, 0, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]])


def save(path: Path, voxels: np.ndarray = VOXELS, cls: type = nib.Nifti1Image) -> Path:
    nib.save(cls(voxels, AFFINE), path)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("cls", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_volume_is_read_from_file_and_from_bytes(tmp_path: Path, suffix: str, cls: type):
    path = save(tmp_path / f"v{suffix}", cls=cls)
    for volume in (read_stored(path), read_stored("name", path.read_bytes())):
        np.testing.assert_array_equal(volume.voxels, VOXELS)
        np.testing.assert_allclose(volume.affine, AFFINE)
        assert volume.values().dtype == np.int16


def test_scaled_numbers_stay_as_stored_until_values_are_asked_for(tmp_path: Path):
    image = nib.Nifti1Image(VOXELS, AFFINE)
    image.header.set_slope_inter(2.0, -10.0)
    nib.save(image, tmp_path / "v.nii.gz")
    volume = read_stored(tmp_path / "v.nii.gz")
    expected = np.asanyarray(nib.load(tmp_path / "v.nii.gz").dataobj)
    assert volume.voxels.dtype == np.int16
    np.testing.assert_allclose(volume.values(), expected)
    np.testing.assert_allclose(volume.values(volume.voxels[:, :, 1]), expected[:, :, 1])


def test_upright_is_nibabels_closest_canonical_and_copies_nothing(tmp_path: Path):
    save(tmp_path / "v.nii")
    volume = read_stored(tmp_path / "v.nii")
    upright = volume.oriented("RAS")
    expected = nib.as_closest_canonical(nib.load(tmp_path / "v.nii"))
    np.testing.assert_array_equal(upright.voxels, np.asanyarray(expected.dataobj))
    np.testing.assert_allclose(upright.affine, expected.affine)
    assert np.shares_memory(upright.voxels, volume.voxels)


def test_a_fourth_axis_of_one_is_dropped(tmp_path: Path):
    path = save(tmp_path / "v.nii", VOXELS[..., None])
    assert read_stored(path).voxels.shape == (4, 5, 3)


def test_a_wrong_checksum_is_noticed(tmp_path: Path):
    path = save(tmp_path / "v.nii.gz")
    data = bytearray(path.read_bytes())
    data[-6] ^= 1
    with pytest.raises(BrokenInputError, match=r"CRC check failed|incorrect data check"):
        read_stored("v", bytes(data))


@pytest.mark.parametrize("kept", [0, 3, 200, -40])
def test_a_truncated_file_is_named(tmp_path: Path, kept: int):
    path = save(tmp_path / "v.nii.gz")
    with pytest.raises(BrokenInputError, match=r"v\.nii\.gz: cannot be read as NIfTI"):
        read_stored("v.nii.gz", path.read_bytes()[:kept])


def test_no_volume_no_plain_numbers_and_not_finite_are_refused(tmp_path: Path):
    with pytest.raises(BrokenInputError, match=r"not a volume: its shape is \(4, 5, 3, 2\)"):
        read_stored(save(tmp_path / "a.nii", np.zeros((4, 5, 3, 2), np.int16)))
    with pytest.raises(BrokenInputError, match="holds complex64, not plain numbers"):
        read_stored(save(tmp_path / "b.nii", np.zeros((4, 5, 3), np.complex64)))
    with pytest.raises(BrokenInputError, match="holds values that are not finite"):
        read_stored(save(tmp_path / "c.nii", np.full((4, 5, 3), np.nan, np.float32)))
    with pytest.raises(BrokenInputError, match="file not found"):
        read_stored(tmp_path / "d.nii")


def test_a_header_that_lies_about_its_size_costs_no_memory(tmp_path: Path):
    header = nib.Nifti1Header()
    header.set_data_shape((30_000, 30_000, 30_000))
    header["magic"], header["vox_offset"] = b"n+1", 352
    with pytest.raises(BrokenInputError, match="over the limit"):
        read_stored("v.nii.gz", gzip.compress(header.binaryblock + b"\0" * 4))


def test_a_file_zipped_in_parts_is_read_whole(tmp_path: Path):
    data = gzip.decompress(save(tmp_path / "v.nii.gz").read_bytes())
    parts = gzip.compress(data[:100]) + gzip.compress(data[100:])
    np.testing.assert_array_equal(read_stored("v.nii.gz", parts).voxels, VOXELS)


def test_more_than_the_header_says_is_not_unzipped(tmp_path: Path):
    data = gzip.decompress(save(tmp_path / "v.nii.gz").read_bytes())
    with pytest.raises(BrokenInputError, match="more than its header says"):
        read_stored("v.nii.gz", gzip.compress(data + b"\0" * (1 << 20)))
    assert read_stored("v.nii.gz", gzip.compress(data + b"\0" * 100)).voxels.shape == (4, 5, 3)


@pytest.mark.parametrize("cls", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_header_extensions_are_passed_over(tmp_path: Path, cls: type, suffix: str):
    image = cls(VOXELS, AFFINE)
    for size in (8, 1000):
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * size))
    nib.save(image, tmp_path / f"v{suffix}")
    np.testing.assert_array_equal(read_stored(tmp_path / f"v{suffix}").voxels, VOXELS)


def with_extension(size: int, voxels_at: int) -> bytes:
    """A volume with an extension of zeros that says that it has so many bytes."""
    plain = bytearray(nib.Nifti1Image(VOXELS, AFFINE).to_bytes())
    plain[108:112] = struct.pack("<f", voxels_at)
    extension = struct.pack("<ii", size, 6) + bytes(max(0, voxels_at - 360))
    return bytes(plain[:348]) + b"\1\0\0\0" + extension + bytes(plain[352:])


def test_a_header_extension_over_the_limit_is_refused_before_it_is_unzipped():
    # Unzipped it is a thousand times as large as the file; nibabel reads all of it.
    data = gzip.compress(with_extension(1 << 27, 352 + (1 << 27)), 1)
    tracemalloc.start()
    for read in (
        lambda: read_stored("v.nii.gz", data),
        lambda: read_place(io.BytesIO(data), "v.nii.gz", len(data)),
    ):
        with pytest.raises(BrokenInputError, match="behind a header extension over the limit of 6"):
            read()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 22


@pytest.mark.parametrize("size", [-1, 0, 7, 1 << 30])
def test_what_an_extension_says_of_its_size_is_not_believed(size: int):
    volume = read_stored("v.nii.gz", gzip.compress(with_extension(size, 1024)))
    np.testing.assert_array_equal(volume.voxels, VOXELS)


def test_voxels_inside_the_header_are_refused(tmp_path: Path):
    data = bytearray(save(tmp_path / "v.nii").read_bytes())
    data[344:348] = b"ni1\0"  # the header of a pair of files
    data[108:112] = struct.pack("<f", 0)
    with pytest.raises(BrokenInputError, match="begin at byte 0, inside its header"):
        read_stored("v.nii", bytes(data))


def test_an_affine_without_three_axes_is_refused_by_the_header_alone():
    # Found by fuzzing.
    image = nib.Nifti1Image(VOXELS, None)
    image.header.set_sform(np.diag([1.0, 0, 1, 1]), code=1)
    data = image.to_bytes()
    for read in (
        lambda: read_stored("v.nii", data),
        lambda: read_place(io.BytesIO(data), "v.nii", len(data)),
    ):
        with pytest.raises(BrokenInputError, match="does not span three axes"):
            read()
