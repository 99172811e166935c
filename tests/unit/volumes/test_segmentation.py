from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest

from syncsam_lightning.volumes.dicom import read_series
from syncsam_lightning.volumes.segmentation import write_segmentation

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
