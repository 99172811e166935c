from __future__ import annotations

import struct
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from syncsam_lightning.errors import BrokenInputError, MissingPackageError
from syncsam_lightning.volumes import stack_of
from syncsam_lightning.volumes.dicom import read_series
from syncsam_lightning.volumes.dicom_file import is_dicom
from syncsam_lightning.volumes.dicom_series import find_series
from syncsam_lightning.volumes.reading import read_volume

Write = Callable[..., list[Path]]
VOXELS = np.random.default_rng(0).integers(-1000, 1000, (6, 5, 4)).astype(np.int16)


def edit(path: Path, **tags: object) -> None:
    image = pydicom.dcmread(path)
    for name, value in tags.items():
        setattr(image, name, value)
    image.save_as(path)


def test_slices_are_ordered_by_position_not_by_name(dicom: Write):
    files = dicom(VOXELS, names=(2, 0, 3, 1))
    volume = read_series(files)
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    assert [path.name for path in volume.files] == ["002", "000", "003", "001"]
    assert (volume.modality, volume.spacing) == ("CT", (0.7, 0.8, 2.5))


def test_voxels_lie_where_dicom_says_with_left_and_posterior_turned_around(dicom: Write):
    volume = read_series(dicom(VOXELS))
    place = nib.affines.apply_affine(volume.affine, (2, 3, 1))
    left, posterior, superior = -10 + 2 * 0.7, -20 + 3 * 0.8, 30 + 2.5
    np.testing.assert_allclose(place, (-left, -posterior, superior))


def test_an_axial_slice_shows_the_pixels_as_a_viewer_does(dicom: Write):
    volume = read_series(dicom(VOXELS))
    np.testing.assert_array_equal(stack_of(volume, "axial")[2], VOXELS[:, :, 2].T)


def test_a_series_scanned_from_the_head_downwards_is_the_same_volume(dicom: Write):
    files = dicom(VOXELS)
    np.testing.assert_array_equal(read_series(files[::-1]).voxels, read_series(files).voxels)


def test_a_missing_slice_is_found_and_named(dicom: Write):
    first, second, _, last = dicom(VOXELS, names=(0, 1, 2, 3))
    with pytest.raises(BrokenInputError, match=r"003: lies 5.00 mm after 001.*a slice is missing"):
        read_series([first, second, last])


def test_two_images_of_one_place_are_refused(dicom: Write):
    files = dicom(VOXELS, names=(0, 1, 2, 3))
    edit(files[2], ImagePositionPatient=[-10, -20, 32.5])
    with pytest.raises(BrokenInputError, match=r"002: lies where 001 lies"):
        read_series(files)


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, "another ImageOrientationPatient"),
        ({"PixelSpacing": [0.8, 0.8]}, "another PixelSpacing"),
        ({"NumberOfFrames": 3}, "holds 3 frames and does not say where .* a film"),
        ({"SamplesPerPixel": 3}, "colour"),
        ({"ImagePositionPatient": None}, "where in the patient"),
    ],
)
def test_a_file_that_does_not_fit_its_series_is_named(
    dicom: Write, tags: dict[str, object], reason: str
):
    files = dicom(VOXELS, names=(0, 1, 2, 3))
    edit(files[3], **tags)
    with pytest.raises(BrokenInputError, match=rf"003: .*{reason}"):
        read_series(files)


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"ImagePositionPatient": [1, 2]}, "ImagePositionPatient .* expected 3 finite numbers"),
        ({"ImageOrientationPatient": [1, 0, 0, 0]}, "ImageOrientationPatient .* expected 6 finite"),
        ({"ImageOrientationPatient": [0] * 6}, "expected two directions at right angles"),
        ({"PixelSpacing": [0, 0]}, "PixelSpacing .* expected numbers above 0"),
        ({"Rows": [5, 5]}, "Rows .* expected a finite number"),
        ({"Rows": 0}, "declares 0 x 6 pixels"),
        ({"Rows": 65535, "Columns": 65535}, "declares 65535 x 65535 pixels, expected 1 to"),
    ],
)
def test_a_header_that_makes_no_sense_is_named(dicom: Write, tags: dict[str, object], reason: str):
    # Found by fuzzing: each was an exception of NumPy's, or a request for gigabytes.
    file = dicom(VOXELS[..., :1])[0]
    edit(file, **tags)
    with pytest.raises(BrokenInputError, match=rf"000: .*{reason}"):
        read_series([file])


@pytest.mark.parametrize(
    "tags",
    [
        {"ImagePositionPatient": ["1e18", 0, 60]},
        {"ImagePositionPatient": ["1e308", "1e308", 60]},
        {"PixelSpacing": ["1e200", "1e200"]},
    ],
)
def test_slices_with_no_way_between_them_are_no_volume(dicom: Write, tags: dict[str, object]):
    files = dicom(VOXELS[..., :2], names=(0, 1))
    for file in files if "PixelSpacing" in tags else files[1:]:
        edit(file, **tags)
    with pytest.raises(BrokenInputError, match=r"001: .* do not span three axes"):
        read_series(files)


def test_values_whose_bytes_are_no_numbers_are_named(dicom: Write):
    # Found by fuzzing: pydicom makes a value of its bytes when it is first asked for.
    file = dicom(VOXELS[..., :1])[0]
    rows = b"\x28\x00\x10\x00US\x02\x00"
    whole = file.read_bytes()
    at = whole.index(rows)
    file.write_bytes(whole[:at] + rows[:-2] + b"\x01\x00" + whole[at + len(rows) + 1 :])
    with pytest.raises(BrokenInputError, match=r"000: cannot be read"):
        read_series([file])
    (error,) = find_series([file]).broken
    assert error.path == str(file)


def test_a_class_of_a_kind_of_value_that_there_is_none_of_is_named(dicom: Write):
    # Found by fuzzing, where the class of the file is looked up.
    file = dicom(VOXELS[..., :1])[0]
    file.write_bytes(file.read_bytes().replace(b"\x02\0\x02\0UI", b"\x02\0\x02\0UA", 1))
    with pytest.raises(BrokenInputError, match=r"000: cannot be read .*'UA'"):
        read_series([file])
    assert len(find_series([file]).broken) == 1


def test_an_element_that_says_it_has_gigabytes_takes_none(dicom: Write):
    # Found by fuzzing: Python makes room for as much as pydicom asks a file for.
    file = dicom(VOXELS[..., :1])[0]
    whole = bytearray(file.read_bytes())
    at = whole.index(b"\x08\x00\x60\x00CS")  # Modality
    whole[at + 4 : at + 12] = b"UN\0\0" + struct.pack("<L", 0xFFFFFFF0)
    file.write_bytes(whole)
    tracemalloc.start()
    try:
        with pytest.raises(BrokenInputError, match="000: "):
            read_series([file])
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def deflated(file: Path) -> Path:
    image = pydicom.dcmread(file)
    image.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    image.save_as(file)
    return file


def test_a_deflated_file_that_is_damaged_is_told(dicom: Write):
    file = deflated(dicom(VOXELS[..., :1])[0])
    whole = file.read_bytes()
    file.write_bytes(whole[:-60] + b"\xff" * 60)
    with pytest.raises(BrokenInputError, match=r"000: cannot be read"):
        read_series([file])


def test_a_deflated_file_that_holds_too_much_is_refused_piece_by_piece(
    dicom: Write, monkeypatch: pytest.MonkeyPatch
):
    file = dicom(VOXELS[..., :1])[0]
    edit(file, PixelData=bytes(50_000_000))
    deflated(file)
    assert file.stat().st_size < 100_000
    monkeypatch.setattr("syncsam_lightning.volumes.dicom_file.MAX_INFLATED", 10_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(BrokenInputError, match=r"000: inflates to more than 10,000,000 bytes"):
            read_series([file])
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_slices_of_another_size_are_named(dicom: Write):
    files = dicom(VOXELS, names=(0, 1, 2, 3))
    edit(files[3], Rows=4, PixelData=b"\0" * 48)
    with pytest.raises(BrokenInputError, match=r"003: has Rows 4, but 000 .* 5"):
        read_series(files)


def test_small_is_bright_is_turned_around(dicom: Write):
    files = dicom(VOXELS)
    for path in files:
        edit(path, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read_series(files).voxels, -VOXELS.astype(float))


def test_an_image_without_a_place_stands_for_itself(dicom: Write):
    path = dicom(VOXELS, names=(0, 1, 2, 3))[0]
    image = pydicom.dcmread(path)
    del image.ImagePositionPatient
    del image.ImageOrientationPatient
    image.save_as(path)
    volume = read_series([path])
    assert volume.voxels.shape == (6, 5, 1)
    assert volume.orientation == "LPS"
    np.testing.assert_array_equal(stack_of(volume, "axial")[0], VOXELS[:, :, 0].T)


@pytest.mark.parametrize(
    ("tags", "millimetres"),
    [
        ({"SpacingBetweenSlices": 6, "SliceThickness": 5}, 6),
        ({"SpacingBetweenSlices": None, "SliceThickness": 5}, 5),
        ({"SliceThickness": None}, 1),
    ],
)
@pytest.mark.parametrize("placed", [True, False])
def test_a_single_slice_is_as_thick_as_it_says(
    dicom: Write, tags: dict[str, object], millimetres: float, placed: bool
):
    file = dicom(VOXELS[..., :1])[0]
    if not placed:
        tags = {**tags, "ImagePositionPatient": None, "ImageOrientationPatient": None}
    edit(file, **tags)
    assert read_series([file]).spacing == pytest.approx((0.7, 0.8, millimetres))


@pytest.mark.parametrize("name", ["SpacingBetweenSlices", "SliceThickness"])
@pytest.mark.parametrize("value", [0, -5, [1, 2]])
def test_a_single_slice_of_no_thickness_is_named(dicom: Write, name: str, value: object):
    file = dicom(VOXELS[..., :1])[0]
    edit(file, **{name: value})
    with pytest.raises(BrokenInputError, match=rf"000: has {name} .*expected a "):
        read_series([file])


def test_a_mosaic_is_refused_by_its_kind(dicom: Write):
    file = dicom(VOXELS[..., :1])[0]
    edit(file, ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"])
    with pytest.raises(BrokenInputError, match=r"000: is a mosaic \(ImageType\).*dcm2niix"):
        read_series([file])


def test_an_image_that_declares_no_frames_is_one(dicom: Write):
    file = dicom(VOXELS[..., :1])[0]
    edit(file, NumberOfFrames=0)
    np.testing.assert_array_equal(read_series([file]).voxels, VOXELS[..., :1])


def test_a_radiograph_of_unknown_spacing_is_read(dicom: Write):
    file = dicom(VOXELS[..., :1])[0]
    edit(file, PixelSpacing=[0, 0], ImagePositionPatient=None, ImageOrientationPatient=None)
    volume = read_series([file])
    assert (volume.spacing, volume.has_spacing) == ((1, 1, 2.5), False)
    np.testing.assert_array_equal(volume.voxels, VOXELS[..., :1])


@pytest.mark.parametrize(
    ("uid", "what"),
    [
        ("1.2.840.10008.1.3.10", "DICOMDIR"),
        ("1.2.840.10008.5.1.4.1.1.88.33", "Comprehensive SR"),
        ("1.2.840.10008.5.1.4.1.1.481.5", "RT Plan"),
        ("1.2.3.4", r"1\.2\.3\.4"),
    ],
)
def test_what_is_no_image_is_told_as_what_it_is(dicom: Write, uid: str, what: str):
    file = dicom(VOXELS[..., :1])[0]
    image = pydicom.dcmread(file)
    for name in ("Rows", "Columns", "PixelData", "SOPClassUID"):
        del image[name]
    image.file_meta.MediaStorageSOPClassUID = uid
    image.save_as(file)
    with pytest.raises(BrokenInputError, match=rf"000: is no image of a patient \({what}\): give"):
        read_series([file])


@pytest.mark.parametrize(
    ("uid", "what"),
    [
        ("1.2.840.10008.5.1.4.1.1.66.4", "DICOM SEG"),
        ("1.2.840.10008.5.1.4.1.1.481.2", "RT Dose"),
    ],
)
def test_a_folder_is_read_without_what_lies_over_its_series(
    dicom: Write, uid: str, what: str, caplog: pytest.LogCaptureFixture
):
    files = dicom(VOXELS)
    over = files[0].parent / "over.dcm"
    over.write_bytes(files[0].read_bytes())
    edit(over, SOPClassUID=uid, SeriesInstanceUID="1.2.3")
    np.testing.assert_array_equal(read_volume(over.parent).voxels, VOXELS)
    assert (
        f"1 DICOM file is left out, being no image of a series (1 {what}; over.dcm)" in caplog.text
    )
    with pytest.raises(BrokenInputError, match=rf"is no image of a patient \({what}\)"):
        read_volume(over)


def test_files_of_a_folder_are_sorted_into_series(dicom: Write, tmp_path: Path):
    files = dicom(VOXELS, names=(0, 1, 2, 3))
    edit(files[1], SeriesInstanceUID="1.2.3", SeriesDescription="scout")
    note = tmp_path / "series" / "note"
    note.write_text("x")
    found = find_series([*files, note])
    assert [len(one.files) for one in found.series] == [3, 1]
    assert (found.series[1].uid, found.series[1].description) == ("1.2.3", "scout")
    assert [(error.path, error.reason) for error in found.broken] == [
        (str(note), "not a DICOM file")
    ]


def test_dicom_is_known_by_its_content(dicom: Write, tmp_path: Path):
    assert is_dicom(dicom(VOXELS)[0])
    (tmp_path / "short").write_bytes(b"x")
    assert not is_dicom(tmp_path / "short")
    assert not is_dicom(tmp_path / "absent")


def test_pixels_that_are_too_few_are_named(dicom: Write):
    files = dicom(VOXELS, names=(0, 1, 2, 3))
    edit(files[2], PixelData=b"\0" * 10)
    with pytest.raises(BrokenInputError, match=r"002: its pixels cannot be decoded"):
        read_series(files)


def test_without_pydicom_the_error_says_what_to_install(
    dicom: Write, monkeypatch: pytest.MonkeyPatch
):
    files = dicom(VOXELS)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'syncsam-lightning\[dicom\]'"):
        read_series(files)
