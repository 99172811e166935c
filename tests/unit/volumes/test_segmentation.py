from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes.dicom import read_series
from syncsam_lightning.volumes.segmentation import (
    check_segmentation,
    segment_labels,
    write_segmentation,
)
from tests.dicom_files import dicom_errors

Write = Callable[..., list[Path]]
VOXELS = np.zeros((6, 5, 4), np.int16)


def masks() -> dict[str, np.ndarray]:
    liver, cyst = np.zeros((2, *VOXELS.shape), bool)
    liver[1:4, 2:5, 1:3] = True
    cyst[2, 3, 2] = True  # lies in the liver
    return {"liver": liver, "cyst": cyst}


def test_every_object_is_read_back_on_its_slices(dicom: Write, tmp_path: Path):
    volume = read_series(dicom(VOXELS))
    write_segmentation(tmp_path / "seg.dcm", masks(), volume, algorithm="Tiny")
    seg = hd.seg.segread(tmp_path / "seg.dcm")
    assert [s.segment_label for s in seg.SegmentSequence] == ["liver", "cyst"]
    uids = [pydicom.dcmread(path).SOPInstanceUID for path in volume.files]
    frames = seg.get_pixels_by_source_instance(
        uids, assert_missing_frames_are_empty=True, combine_segments=False
    )
    for number, mask in enumerate(masks().values()):
        np.testing.assert_array_equal(frames[..., number], mask.transpose(2, 1, 0))


@pytest.mark.parametrize("names", [["liver"], ["liver", "cyst"]])
def test_masks_of_numbers_are_those_of_true_and_false(
    dicom: Write, tmp_path: Path, names: list[str]
):
    volume = read_series(dicom(VOXELS))
    given = {name: masks()[name].astype(np.uint8) for name in names}
    write_segmentation(tmp_path / "seg.dcm", given, volume, algorithm="Tiny")
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert int(seg.pixel_array.astype(bool).sum()) == sum(int(masks()[n].sum()) for n in names)


@pytest.mark.parametrize("overlap", ["YES", "NO"])
def test_masks_may_be_made_when_their_turn_comes_and_one_is_held(
    dicom: Write, tmp_path: Path, overlap: str
):
    volume = read_series(dicom(VOXELS))
    objects = {**masks(), "rim": np.roll(masks()["liver"], -2, axis=1)}
    if overlap == "NO":
        objects["cyst"] = np.roll(objects["cyst"], 2, axis=0)
        objects["rim"] = ~(objects["liver"] | objects["cyst"])
    made: list[weakref.ref[np.ndarray]] = []

    def draw(name: str) -> np.ndarray:
        assert sum(ref() is not None for ref in made) <= 1
        mask = objects[name].copy()
        made.append(weakref.ref(mask))
        return mask

    for file, drawn in (("1", objects), ("2", {name: partial(draw, name) for name in objects})):
        write_segmentation(tmp_path / file, drawn, volume)
    seg, again = (pydicom.dcmread(tmp_path / file) for file in "12")
    assert seg.SegmentsOverlap == again.SegmentsOverlap == overlap
    assert seg.PixelData == again.PixelData
    frames = hd.seg.segread(tmp_path / "2").get_pixels_by_source_instance(
        [pydicom.dcmread(path).SOPInstanceUID for path in volume.files],
        assert_missing_frames_are_empty=True,
        combine_segments=False,
    )
    for number, mask in enumerate(objects.values()):
        np.testing.assert_array_equal(frames[..., number], mask.transpose(2, 1, 0))


def test_it_belongs_to_the_study_and_space_of_its_series(dicom: Write, tmp_path: Path):
    volume = read_series(dicom(VOXELS))
    write_segmentation(tmp_path / "seg.dcm", masks(), volume)
    seg, source = pydicom.dcmread(tmp_path / "seg.dcm"), pydicom.dcmread(volume.files[0])
    for name in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID"):
        assert seg[name].value == source[name].value
    assert seg.SeriesInstanceUID != source.SeriesInstanceUID
    assert (seg.Modality, seg.SegmentationType) == ("SEG", "BINARY")


def test_without_any_foreground_there_is_nothing_to_write(dicom: Write, tmp_path: Path):
    volume = read_series(dicom(VOXELS))
    with pytest.raises(ValueError, match="foreground"):
        write_segmentation(tmp_path / "seg.dcm", {"liver": np.zeros((6, 5, 4), bool)}, volume)


def test_a_mask_of_another_shape_is_refused(dicom: Write, tmp_path: Path):
    volume = read_series(dicom(VOXELS))
    with pytest.raises(ValueError, match="shape"):
        write_segmentation(tmp_path / "seg.dcm", {"liver": np.ones((5, 6, 4), bool)}, volume)


def edit(files: list[Path], **tags: object) -> list[Path]:
    """Set attributes of files; those that get None are removed."""
    for path in files:
        image = pydicom.dcmread(path)
        for name, value in tags.items():
            if value is None:
                image.pop(name, None)
            else:
                setattr(image, name, value)
        image.save_as(path)
    return files


def written(files: list[Path], objects: Mapping[str, np.ndarray] | None = None) -> pydicom.Dataset:
    """Write a segmentation of a series; the file is read anew."""
    target = files[0].parent.parent / "seg.dcm"
    volume = read_series(files)
    check_segmentation(volume)
    write_segmentation(target, objects or masks(), volume)
    assert dicom_errors(target) == []
    return pydicom.dcmread(target)


def labels_of(seg: pydicom.Dataset) -> list[str]:
    return [segment.SegmentLabel for segment in seg.SegmentSequence]


@pytest.mark.parametrize("charset", [None, "ISO_IR 100", ["", "ISO 2022 IR 87"]])
def test_labels_keep_all_letters(dicom: Write, charset: object):
    names = ["肝臓", "kidney – left", "größer", "почка"]
    mask = masks()["liver"]
    seg = written(edit(dicom(VOXELS), SpecificCharacterSet=charset), dict.fromkeys(names, mask))
    assert seg.SpecificCharacterSet == "ISO_IR 192"
    assert labels_of(seg) == names


def test_a_label_of_two_values_or_too_long_stays_one_of_its_own(dicom: Write):
    long = "lesion of the left upper lobe beside the hilum, second follow-up, "
    names = ["left\\right", "left/right", long + "core", long + "rim", "two\nlines"]
    seg = written(dicom(VOXELS), dict.fromkeys(names, masks()["liver"]))
    labels = labels_of(seg)
    assert labels[0].startswith("left/right-")
    assert labels[1] == "left/right"
    assert labels[4] == "two lines"
    assert len(set(labels)) == 5
    assert max(map(len, labels)) <= 64
    # What a label has no room for is in the description.
    assert [segment.get("SegmentDescription") for segment in seg.SegmentSequence] == [
        names[0],
        None,
        names[2],
        names[3],
        names[4],
    ]


@given(st.lists(st.text(max_size=80), unique=True, max_size=12))
def test_labels_of_segments_are_never_alike(names: list[str]):
    labels = segment_labels(names)
    assert len(set(labels)) == len(names)
    for label in labels:
        assert 1 <= len(label) <= 64
        assert "\\" not in label
        assert label == label.strip()
    assert segment_labels(["liver", "left kidney"]) == ["liver", "left kidney"]


def test_names_of_patients_in_other_letters_are_read_and_written_in_unicode(dicom: Write):
    # A character set that begins empty: plain letters, and Japanese after an escape sequence.
    files = dicom(VOXELS)
    for path in files:
        image = pydicom.dcmread(path)
        image.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
        image.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
        image.save_as(path)
    assert b"\x1b$B" in files[0].read_bytes()
    seg = written(files)
    assert str(seg.PatientName) == "Yamada^Tarou=山田^太郎=やまだ^たろう"
    assert "山田".encode() in (files[0].parent.parent / "seg.dcm").read_bytes()


MAY_BE_EMPTY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
)


def test_a_series_without_names_dates_and_thickness_has_a_segmentation(dicom: Write):
    # As programs for de-identification leave them.
    seg = written(edit(dicom(VOXELS), **dict.fromkeys((*MAY_BE_EMPTY, "SliceThickness"))))
    assert {name: str(seg[name].value or "") for name in MAY_BE_EMPTY} == dict.fromkeys(
        MAY_BE_EMPTY, ""
    )
    (measures,) = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert (measures.SliceThickness, measures.SpacingBetweenSlices) == (2.5, 2.5)


def test_values_that_are_none_of_their_kind_are_left_empty_and_told(
    dicom: Write, caplog: pytest.LogCaptureFixture
):
    files = dicom(VOXELS)
    for path in files:
        image = pydicom.dcmread(path)
        for name, value in (("PatientBirthDate", "unknown"), ("PatientSex", "U")):
            image[name] = pydicom.DataElement(
                name, image[name].VR, value, validation_mode=pydicom.config.IGNORE
            )
        image.save_as(path)
    seg = written(files)
    assert (seg.PatientBirthDate, seg.PatientSex, str(seg.PatientName)) == ("", "", "A^B")
    assert "its PatientBirthDate is none, and is left empty" in caplog.text
    assert "unknown" not in caplog.text  # no value of a patient goes into a log


@pytest.mark.parametrize("name", ["FrameOfReferenceUID", "StudyInstanceUID", "SOPInstanceUID"])
def test_what_a_series_lacks_for_a_segmentation_is_named(dicom: Write, name: str):
    volume = read_series(edit(dicom(VOXELS), **{name: None}))
    with pytest.raises(BrokenInputError, match=rf"has no {name}, which a DICOM SEG must refer to"):
        check_segmentation(volume)


def test_directions_that_differ_in_their_last_digits_make_one_segmentation(dicom: Write):
    files = dicom(VOXELS)
    edit(files[1:2], ImageOrientationPatient=[1, 1e-5, 0, -1e-5, 1, 0])
    assert labels_of(written(files)) == ["liver", "cyst"]


@pytest.mark.parametrize("spacing", [[0.8, 0.7], [0, 0]])
def test_a_radiograph_without_a_place_has_a_segmentation(dicom: Write, spacing: list[float]):
    gone = ("ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID")
    files = edit(dicom(VOXELS[..., :1]), **dict.fromkeys(gone), PixelSpacing=spacing)
    seg = written(files, {"lung": np.ones((6, 5, 1), bool)})
    assert seg.pixel_array.sum() == 30
    (source,) = seg.SourceImageSequence
    assert source.ReferencedSOPInstanceUID == pydicom.dcmread(files[0]).SOPInstanceUID
