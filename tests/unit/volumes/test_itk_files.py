"""NRRD and MetaImage: voxels and places as other programs have them, and what is refused."""

from __future__ import annotations

import gzip
import sys
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from syncsam_lightning.errors import BrokenInputError, MissingPackageError
from syncsam_lightning.volumes.itk_files import (
    read_itk,
    read_itk_place,
    read_itk_stored,
    read_segments,
)
from syncsam_lightning.volumes.itk_header import Segment
from syncsam_lightning.volumes.reading import read_volume
from tests.itk_files import mha, nrrd, save_itk

VOXELS = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4) - 5
SIXTY = np.deg2rad(60)
OBLIQUE = np.array(
    [[0.8, 0, 0, 10], [0, 1.2 * np.cos(0.3), -3 * np.sin(0.3), -7],
     [0, 1.2 * np.sin(0.3), 3 * np.cos(0.3), 5], [0, 0, 0, 1]]
)  # fmt: skip
FLIPPED = np.array([[-0.8, 0, 0, 10], [0, -1.2, 0, -7], [0, 0, -3, 5], [0, 0, 0, 1.0]])
PERMUTED = np.array([[0, 0, 3, 10], [0.8, 0, 0, -7], [0, -1.2, 0, 5], [0, 0, 0, 1.0]])
AFFINES = {"oblique": OBLIQUE, "flipped": FLIPPED, "permuted": PERMUTED}


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


# Files that SimpleITK writes


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("compressed", [True, False])
def test_voxels_lie_where_nifti_of_the_same_program_says(
    tmp_path: Path, suffix: str, compressed: bool, name: str
):
    path = save_itk(tmp_path / f"v{suffix}", VOXELS, AFFINES[name], compressed=compressed)
    volume = read_volume(path)
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(path)), str(tmp_path / "v.nii"))
    other = nib.load(tmp_path / "v.nii")
    np.testing.assert_array_equal(volume.voxels, np.asanyarray(other.dataobj))
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    np.testing.assert_allclose(volume.affine, AFFINES[name], atol=1e-9)
    np.testing.assert_allclose(volume.affine, other.affine, atol=1e-5)
    place = read_itk_place(path)
    assert place.shape == VOXELS.shape
    np.testing.assert_array_equal(place.affine, volume.affine)
    assert (volume.files, volume.header, volume.has_spacing) == ((path,), None, True)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
def test_every_number_type_is_kept(tmp_path: Path, suffix: str, kind: str):
    voxels = np.array([[[0, 1], [100, 7]]], dtype=kind)
    volume = read_itk_stored(save_itk(tmp_path / f"v{suffix}", voxels, np.eye(4)))
    np.testing.assert_array_equal(volume.voxels, voxels)
    assert volume.voxels.dtype == voxels.dtype


# Headers written by hand


@pytest.mark.parametrize(
    ("space", "signs"),
    [
        ("left-posterior-superior", (-1, -1, 1)),
        ("LPS", (-1, -1, 1)),
        ("right-anterior-superior", (1, 1, 1)),
        ("RAS", (1, 1, 1)),
        ("left-anterior-superior", (-1, 1, 1)),
    ],
)
@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_a_space_of_nrrd_says_where_its_axes_lead(
    tmp_path: Path, space: str, signs: tuple[int, ...], encoding: str
):
    data = nrrd(
        VOXELS, space=space, encoding=encoding, origin="(10,-7,5)",
        directions="(0,0.5,0) (0,0,-2) (3,0,0)",
    )  # fmt: skip
    volume = read_itk(written(tmp_path / "v.nrrd", data))
    expected = np.diag([*signs, 1.0]) @ np.array(
        [[0, 0, 3, 10], [0.5, 0, 0, -7], [0, -2, 0, 5], [0, 0, 0, 1]]
    )
    np.testing.assert_allclose(volume.affine, expected)
    np.testing.assert_array_equal(volume.voxels, VOXELS)


def test_a_matrix_of_metaimage_holds_an_axis_in_each_row(tmp_path: Path):
    fields = {
        "TransformMatrix": "0 1 0 0 0 -1 1 0 0",
        "Offset": "10 -7 5",
        "ElementSpacing": "0.5 2 3",
    }
    volume = read_itk(written(tmp_path / "v.mha", mha(VOXELS, **fields)))
    expected = [[0, 0, -3, -10], [-0.5, 0, 0, 7], [0, -2, 0, 5], [0, 0, 0, 1]]
    np.testing.assert_allclose(volume.affine, expected)
    np.testing.assert_array_equal(volume.voxels, VOXELS)


def test_what_itk_keeps_of_the_dicom_header_does_not_matter(tmp_path: Path):
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(VOXELS.T))
    kept = {"0008|0060": "CT", "0010|0010": "A^B: = C", "Patient Name": "x", "DimSize x": "9 9 9"}
    for key, value in kept.items():
        image.SetMetaData(key, value)
    for name in ("v.mha", "v.nrrd"):
        SimpleITK.WriteImage(image, str(tmp_path / name))
        np.testing.assert_array_equal(read_itk(tmp_path / name).voxels, VOXELS)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4, 1)])
@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_two_axes_are_one_slice_and_a_fourth_of_length_1_is_none(
    tmp_path: Path, shape: tuple[int, ...], suffix: str
):
    voxels = VOXELS[..., 0] if len(shape) == 2 else VOXELS[..., None]
    data = mha(voxels)
    if suffix == ".nrrd":
        data = nrrd(voxels, space="", directions="", origin="", encoding="gzip")
    volume = read_itk_stored(written(tmp_path / f"v{suffix}", data))
    assert volume.voxels.shape == (*shape, 1)[:3]
    np.testing.assert_array_equal(volume.voxels.ravel(), voxels.ravel())


@pytest.mark.parametrize(
    ("name", "data", "has_spacing"),
    [
        ("v.nrrd", nrrd(VOXELS, space="", directions="", origin=""), False),
        ("v.nrrd", nrrd(VOXELS, "spacings: 2 2 2", space="", directions="", origin=""), True),
        ("v.mha", mha(VOXELS, TransformMatrix="", Offset="", ElementSpacing=""), False),
    ],
)
def test_a_header_without_directions_is_told(
    tmp_path: Path,
    name: str,
    data: bytes,
    has_spacing: bool,
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level("WARNING")
    volume = read_itk(written(tmp_path / name, data))
    (told,) = caplog.messages
    assert told.startswith(f"{tmp_path / name} does not say how the patient lies in it")
    assert (volume.orientation, volume.has_spacing) == ("LPS", has_spacing)


def test_nan_is_background_of_images_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("WARNING")
    voxels = np.array([[[np.nan, 3.0, 5.0]]], np.float32)
    path = written(tmp_path / "v.nrrd", nrrd(voxels))
    assert read_itk(path).voxels.tolist() == [[[3, 3, 5]]]
    assert "1 of its 3 voxels hold NaN" in caplog.text
    with pytest.raises(BrokenInputError, match="1 of 3 voxels"):
        read_itk_stored(path)


# Segmentations of 3D Slicer

SEGMENTS = ("Segment0_Name:=liver", "Segment0_LabelValue:=1", "Segment0_Layer:=0")
SEGMENTS += ("Segment1_Name:=cyst, left", "Segment1_LabelValue:=2", "Segment1_Layer:=0")
OTHER_LAYER = ("Segment2_Name:=vessel", "Segment2_LabelValue:=1", "Segment2_Layer:=1")


def test_a_segmentation_names_its_objects(tmp_path: Path):
    path = written(tmp_path / "s.seg.nrrd", nrrd((VOXELS > 3).astype(np.uint8), *SEGMENTS))
    assert read_segments(path) == [Segment("liver", 1, 0), Segment("cyst, left", 2, 0)]
    np.testing.assert_array_equal(read_itk_stored(path).voxels, VOXELS > 3)


def test_layers_are_read_one_by_one(tmp_path: Path):
    layers = np.stack([VOXELS > 3, VOXELS > 9]).astype(np.uint8)
    data = nrrd(
        layers, *SEGMENTS, *OTHER_LAYER, kinds="list domain domain domain", encoding="gzip",
        directions="none (1,0,0) (0,1,0) (0,0,1)",
    )  # fmt: skip
    path = written(tmp_path / "s.seg.nrrd", data)
    assert [one.layer for one in read_segments(path)] == [0, 0, 1]
    for layer in range(2):
        np.testing.assert_array_equal(read_itk_stored(path, layer=layer).voxels, layers[layer])
    with pytest.raises(BrokenInputError, match="holds 2 values for each voxel"):
        read_itk_stored(path)


# What is refused

RAW = VOXELS.tobytes(order="F")
BAD_ZLIB = bytearray(zlib.compress(RAW))
BAD_ZLIB[-1] ^= 1


def compressed(data: bytes) -> bytes:
    header = mha(VOXELS, CompressedData="True", CompressedDataSize=str(len(data)))
    return header[: -len(RAW)] + data


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("v.nhdr", nrrd(VOXELS, "data file: /etc/passwd"), "in another file, /etc/passwd: save it"),
        ("v.nrrd", nrrd(VOXELS, "datafile: v.raw"), "in another file, v.raw: save it as one file"),
        ("v.nrrd", nrrd(VOXELS, "DATA FILE: LIST"), "in another file, LIST: save it as one file"),
        ("v.mhd", mha(VOXELS, ElementDataFile="v.raw"), "another file, v.raw: save it as one file"),
        ("v.mha", mha(VOXELS, ElementDataFile="LIST"), "another file, LIST: save it as one file"),
        ("v.mha", mha(VOXELS, ElementDataFile="../%d.raw 1 3 1"), "in another file, ../%d.raw"),
        ("v.nrrd", nrrd(VOXELS)[:-1], "declares 48 bytes, which its 47 bytes cannot hold"),
        ("v.mha", mha(VOXELS)[:-1], "declares 48 bytes, which its 47 bytes cannot hold"),
        ("v.nrrd", nrrd(VOXELS, encoding="gzip")[:-20], "cannot be read as NRRD or MetaImage"),
        ("v.nrrd", nrrd(VOXELS, encoding="bzip2"), "encoded as 'bzip2': save them as raw or gzip"),
        ("v.nrrd", nrrd(VOXELS, "byte skip: -1"), "has a byteskip: save it without"),
        ("v.nrrd", nrrd(VOXELS, "sizes: 1 1 1"), "'sizes: 1 1 1', is no field of NRRD"),
        ("v.nrrd", nrrd(VOXELS, "kinds: a\rdata file: x"), "the character '\\r', which is no text"),
        (
            "v.nrrd",
            nrrd(VOXELS).replace(b"sizes: 2 3 4", b"sizes: 9999 9999 9999"),
            "declares (9999, 9999, 9999) voxels, over the limit",
        ),
        (
            "v.nrrd",
            nrrd(VOXELS, encoding="gzip").replace(b"sizes: 2 3 4", b"sizes: 999 999 999"),
            "declares 1994005998 bytes, which its",
        ),
        ("v.nrrd", nrrd(VOXELS).replace(b"sizes: 2", b"sizes: 0"), "its shape is (0, 3, 4)"),
        ("v.nrrd", nrrd(VOXELS).replace(b"type: short", b"type: block"), "holds block, not plain"),
        (
            "v.nrrd",
            nrrd(
                np.zeros((3, 2, 3, 4), np.uint8),
                kinds="RGB-color domain domain domain",
                directions="none (1,0,0) (0,1,0) (0,0,1)",
            ),
            "holds 3 values for each voxel (colours or vectors), expected one",
        ),
        ("v.mha", mha(VOXELS, ElementNumberOfChannels="3"), "holds 3 values for each voxel"),
        (
            "v.mha",
            mha(np.zeros((2, 3, 4, 5), np.uint8)),
            "its shape is (2, 3, 4, 5); save the part",
        ),
        (
            "v.nrrd",
            nrrd(np.zeros((2, 3, 4, 5), np.uint8), space="", directions="", origin=""),
            "save the",
        ),
        ("v.mha", mha(VOXELS, DimSize="2 3"), "has ElementSpacing 1 1 1, expected 2 numbers"),
        ("v.mha", mha(VOXELS, **{"DimSize: 9 9 9 ": "1"}), "is no field of MetaImage"),
        ("v.mha", mha(VOXELS, **{" DimSize": "9 9 9"}), "is no field of MetaImage"),
        ("v.mha", mha(VOXELS, **{"x" * 600: "1"}), "is no field of MetaImage"),
        ("v.mha", mha(VOXELS, HeaderSize="-1"), "its header has a HeaderSize: save it without"),
        ("v.mha", mha(VOXELS, BinaryData="False"), "written as text: save them as binary"),
        ("v.mha", compressed(bytes(BAD_ZLIB)), "cannot be read as NRRD or MetaImage"),
        ("v.mha", compressed(zlib.compress(RAW + b"x")), "it holds more than its header says"),
        ("v.mha", compressed(zlib.compress(RAW[:-1])), "it ends after 47 of 48 bytes"),
        ("v.mha", b"", "is neither NRRD nor MetaImage"),
        ("v.nrrd", nrrd(VOXELS, directions="(1,0,0) (0,0,0) (0,0,1)"), ""),
        ("v.nrrd", nrrd(VOXELS, directions="(1,0,0) (nan,0,0) (0,0,1)"), ""),
    ],
)
def test_what_is_no_volume_in_one_file_is_refused(
    tmp_path: Path, name: str, data: bytes, reason: str, capfd: pytest.CaptureFixture[str]
):
    path = written(tmp_path / name, data)
    with pytest.raises(BrokenInputError) as error:
        read_itk(path)
    assert error.value.path == str(path)
    assert reason in error.value.reason
    assert capfd.readouterr() == ("", "")  # ITK tells nothing beside us


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_a_flipped_byte_in_compressed_voxels_changes_none(tmp_path: Path, suffix: str):
    voxels = np.random.default_rng(0).integers(0, 99, (4, 5, 6)).astype(np.int16)
    path = save_itk(tmp_path / f"v{suffix}", voxels, np.eye(4))
    whole = path.read_bytes()
    begin = whole.index(b"\n\n") if suffix == ".nrrd" else whole.index(b"LOCAL") + 4
    refused = 0
    for at in range(begin + 2, len(whole)):
        changed = bytearray(whole)
        changed[at] ^= 0x10
        path.write_bytes(changed)
        try:
            np.testing.assert_array_equal(read_itk_stored(path).voxels, voxels)
        except BrokenInputError:
            refused += 1
    assert refused > 0.9 * (len(whole) - begin)


def test_several_members_of_gzip_are_read(tmp_path: Path):
    data = nrrd(VOXELS, encoding="gzip")
    header = data[: data.index(b"\n\n") + 2]
    members = gzip.compress(RAW[:20]) + gzip.compress(RAW[20:])
    path = written(tmp_path / "v.nrrd", header + members)
    np.testing.assert_array_equal(read_itk_stored(path).voxels, VOXELS)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = written(tmp_path / "v.nrrd", nrrd(VOXELS))
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'syncsam-lightning\[itk\]'"):
        read_volume(path)
