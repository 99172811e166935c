from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest

from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes.dicom import read_series
from syncsam_lightning.volumes.dicom_series import find_series
from syncsam_lightning.volumes.place import place_of
from syncsam_lightning.volumes.reading import read_volume
from syncsam_lightning.volumes.segmentation import write_segmentation
from syncsam_lightning.volumes.segmentation_reading import read_segment_masks
from tests.dicom_files import save_frames

VOXELS = np.random.default_rng(0).integers(-1000, 1000, (5, 6, 4)).astype(np.int16)
HEIGHTS = (35.0, 32.5, 40.0, 37.5)  # of the frames, which are not in order


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return save_frames(tmp_path / "enhanced.dcm", VOXELS, HEIGHTS)


def test_an_enhanced_image_is_the_volume_of_its_frames(file: Path):
    volume = read_volume(file)
    order = np.argsort(HEIGHTS)
    np.testing.assert_array_equal(volume.voxels, VOXELS[:, :, order].swapaxes(0, 1))
    assert volume.frames == tuple(order.tolist())
    assert (volume.modality, volume.spacing) == ("CT", (0.7, 0.8, 2.5))
    np.testing.assert_allclose(volume.affine[:3, 3], (10, 20, 32.5))


def test_its_folder_holds_one_series(file: Path):
    found = find_series(sorted(file.parent.iterdir()))
    assert ([one.files for one in found.series], found.broken) == ([(file,)], ())


def test_each_frame_may_have_a_scale_of_its_own(file: Path):
    image = pydicom.dcmread(file)
    del image.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence
    for number, groups in enumerate(image.PerFrameFunctionalGroupsSequence):
        scale = pydicom.Dataset()
        scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = number + 1, 0, "US"
        groups.PixelValueTransformationSequence = [scale]
    image.save_as(file)
    expected = (VOXELS.astype(int) + 1024) * np.arange(1, 5)
    np.testing.assert_array_equal(
        read_volume(file).voxels, expected[:, :, np.argsort(HEIGHTS)].swapaxes(0, 1)
    )


def test_a_segmentation_of_it_points_to_its_frames(file: Path, tmp_path: Path):
    volume = read_volume(file)
    mask = np.zeros(volume.voxels.shape, bool)
    mask[2, 3, 0] = mask[1:3, 1, 1] = True
    write_segmentation(tmp_path / "seg.dcm", {"liver": mask}, volume)
    seg = hd.seg.segread(tmp_path / "seg.dcm")
    frames = seg.get_pixels_by_source_frame(
        pydicom.dcmread(file).SOPInstanceUID,
        [1 + number for number in volume.frames],
        assert_missing_frames_are_empty=True,
    )
    np.testing.assert_array_equal(frames[..., 0], mask.transpose(2, 1, 0))


def test_a_segmentation_of_joined_files_points_to_the_file_and_the_frame(tmp_path: Path):
    folder = tmp_path / "series"
    folder.mkdir()
    for number, held in enumerate(([0], [1, 3], [2])):
        save_frames(folder / f"{number}.dcm", VOXELS[..., held], [HEIGHTS[k] for k in held])
    volume = read_volume(folder)
    masks = dict.fromkeys(("liver", "spleen"), np.ones(volume.voxels.shape, bool))
    write_segmentation(tmp_path / "seg.dcm", masks, volume)
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    names = {
        pydicom.dcmread(path).SOPInstanceUID: path.name for path in dict.fromkeys(volume.files)
    }
    found = {}
    for frame in seg.PerFrameFunctionalGroupsSequence:
        (source,) = frame.DerivationImageSequence[0].SourceImageSequence
        assert source.ReferencedSOPClassUID.name == "Enhanced CT Image Storage"
        height = frame.PlanePositionSequence[0].ImagePositionPatient[2]
        number = source.get("ReferencedFrameNumber")
        found[height] = (names[source.ReferencedSOPInstanceUID], number)
    # The only frame of a file is the file: there is no number to refer by.
    assert found == {
        32.5: ("1.dcm", 1),
        35.0: ("0.dcm", None),
        37.5: ("1.dcm", 2),
        40.0: ("2.dcm", None),
    }
    (series,) = seg.ReferencedSeriesSequence
    for items in (seg.SourceImageSequence, series.ReferencedInstanceSequence):
        assert sorted(names[item.ReferencedSOPInstanceUID] for item in items) == [
            "0.dcm",
            "1.dcm",
            "2.dcm",
        ]


def test_frames_that_say_not_where_they_lie_are_refused(file: Path):
    image = pydicom.dcmread(file)
    del image.PerFrameFunctionalGroupsSequence
    image.save_as(file)
    with pytest.raises(BrokenInputError, match=r"holds 4 frames and does not say where each lies"):
        read_volume(file)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ([2, 4], "expected a finite number"),
        (200_000_000, "declares 200000000 frames, over the limit"),
    ],
)
def test_a_number_of_frames_that_makes_no_sense_is_named(file: Path, number: object, reason: str):
    image = pydicom.dcmread(file)
    image.NumberOfFrames = number
    image.save_as(file)
    with pytest.raises(BrokenInputError, match=rf"enhanced\.dcm: .*{reason}"):
        read_volume(file)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("ImagePositionPatient", [1, 2], "expected 3 finite numbers"),
        ("ImagePositionPatient", ["1e18", 0, 40], "makes no volume"),
        ("ImagePositionPatient", [0, 0, "1e308"], "a slice is missing"),
        ("ImageOrientationPatient", [0] * 6, "expected two directions at right angles"),
        ("ImageOrientationPatient", [0, 1, 0, 0, 0, -1], "another ImageOrientationPatient"),
        ("PixelSpacing", [0, 0], "expected numbers above 0"),
        ("PixelSpacing", [0.8, 0.8], "another PixelSpacing"),
    ],
)
def test_a_frame_that_lies_nowhere_is_named(file: Path, name: str, value: object, reason: str):
    image = pydicom.dcmread(file)
    place, inner = pydicom.Dataset(), pydicom.Dataset()
    setattr(inner, name, value)
    sequence = {
        "ImagePositionPatient": "PlanePositionSequence",
        "ImageOrientationPatient": "PlaneOrientationSequence",
        "PixelSpacing": "PixelMeasuresSequence",
    }[name]
    setattr(place, sequence, [inner])
    image.PerFrameFunctionalGroupsSequence[2].update(place)
    image.save_as(file)
    with pytest.raises(BrokenInputError, match=rf"enhanced\.dcm\[\d\]: .*{reason}"):
        read_volume(file)


def test_bytes_of_a_frame_that_are_no_numbers_are_named(file: Path):
    whole = file.read_bytes()
    height = whole.rindex(b"-10.0\\-20.0\\")
    file.write_bytes(whole[:height] + b"-1x.0" + whole[height + 5 :])
    with pytest.raises(BrokenInputError, match=r"enhanced\.dcm: does not say readably where"):
        read_volume(file)


def test_frames_that_are_not_there_are_told(file: Path):
    image = pydicom.dcmread(file)
    image.PixelData = image.PixelData[: len(image.PixelData) // 2]
    image.save_as(file)
    with pytest.raises(BrokenInputError, match=r"enhanced\.dcm: its pixels cannot be decoded"):
        read_volume(file)


def test_two_frames_of_one_place_are_named(tmp_path: Path):
    file = save_frames(tmp_path / "enhanced.dcm", VOXELS, (35.0, 35.0, 40.0, 37.5))
    with pytest.raises(BrokenInputError, match=r"enhanced\.dcm\[1\]: lies where .*\[0\] lies"):
        read_volume(file)


def test_a_file_of_exactly_one_frame_is_enhanced_all_the_same(tmp_path: Path):
    # It says in its functional groups alone where it lies and how it is scaled.
    file = save_frames(tmp_path / "one.dcm", VOXELS[..., :1], HEIGHTS[:1])
    volume = read_volume(file)
    np.testing.assert_array_equal(volume.voxels, VOXELS[..., :1].swapaxes(0, 1))
    assert volume.spacing == pytest.approx((0.7, 0.8, 2.5))
    np.testing.assert_allclose(volume.affine[:3, 3], (10, 20, 35))


def test_files_of_one_series_are_joined_whatever_number_of_frames_each_holds(tmp_path: Path):
    folder = tmp_path / "series"
    folder.mkdir()
    for number, held in enumerate(([0], [1, 3], [2])):
        heights = [HEIGHTS[k] for k in held]
        save_frames(folder / f"{number}.dcm", VOXELS[..., held], heights)
    volume = read_volume(folder)
    order = np.argsort(HEIGHTS)
    np.testing.assert_array_equal(volume.voxels, VOXELS[:, :, order].swapaxes(0, 1))
    assert [path.name for path in volume.files] == ["1.dcm", "0.dcm", "1.dcm", "2.dcm"]
    assert volume.frames == (0, 0, 1, 0)


def test_frames_of_two_files_that_lie_at_one_place_are_named(file: Path, tmp_path: Path):
    other = save_frames(tmp_path / "other.dcm", VOXELS, HEIGHTS)
    with pytest.raises(BrokenInputError, match=r"other\.dcm\[1\]: lies where enhanced\.dcm\[1\]"):
        read_series([file, other])


def concatenated(folder: Path, parts: int = 2, **tags: object) -> list[Path]:
    """Write the image as parts of two frames each, as a concatenation (PS3.3 C.7.6.16.2.2.4)."""
    folder.mkdir()
    files = []
    for number in range(parts):
        held = [2 * number, 2 * number + 1]
        about = {
            "ConcatenationUID": "1.2.826.1.9",
            "SOPInstanceUIDOfConcatenationSource": "1.2.826.1.8",
            "InConcatenationNumber": number + 1,
            "InConcatenationTotalNumber": 2,
            "ConcatenationFrameOffsetNumber": 2 * number,
        }
        path = folder / f"{number}.dcm"
        heights = [HEIGHTS[k] for k in held]
        files.append(save_frames(path, VOXELS[..., held], heights, **(about | tags)))
    return files


def test_the_parts_of_a_concatenation_are_one_volume(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("WARNING")
    concatenated(tmp_path / "parts")
    whole = read_volume(save_frames(tmp_path / "whole.dcm", VOXELS, HEIGHTS))
    volume = read_volume(tmp_path / "parts")
    np.testing.assert_array_equal(volume.voxels, whole.voxels)
    np.testing.assert_allclose(volume.affine, whole.affine)
    assert caplog.messages == []


@pytest.mark.parametrize("total", [2, None])
def test_a_part_of_a_concatenation_tells_of_the_others(
    tmp_path: Path, total: int | None, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("WARNING")
    files = concatenated(tmp_path / "parts", InConcatenationTotalNumber=total)
    assert read_volume(files[1]).voxels.shape[2] == 2
    assert caplog.messages == [
        f"{files[1]}: part 1 of 2 of the image that they are parts of is not there, so the volume "
        "ends early: give the folder that holds all parts"
    ]


def test_a_segmentation_of_a_concatenation_points_to_its_parts(tmp_path: Path):
    files = concatenated(tmp_path / "parts")
    volume = read_volume(tmp_path / "parts")
    mask = np.zeros(volume.voxels.shape, bool)
    mask[2, 3, 0] = mask[1, 1, 3] = True
    write_segmentation(tmp_path / "seg.dcm", {"liver": mask}, volume)
    names = {pydicom.dcmread(path).SOPInstanceUID: path.name for path in files}
    found = {}
    for frame in pydicom.dcmread(tmp_path / "seg.dcm").PerFrameFunctionalGroupsSequence:
        (source,) = frame.DerivationImageSequence[0].SourceImageSequence
        height = frame.PlanePositionSequence[0].ImagePositionPatient[2]
        found[height] = (names[source.ReferencedSOPInstanceUID], source.ReferencedFrameNumber)
    assert found == {32.5: ("0.dcm", 2), 40.0: ("1.dcm", 1)}
    drawn = read_segment_masks(tmp_path / "seg.dcm", place_of(volume)).mask(1)
    np.testing.assert_array_equal(drawn, mask)
