"""DICOM SEG of highdicom and other programs, on the voxels of their images."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes

from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes import Volume
from syncsam_lightning.volumes.place import Place, place_of
from syncsam_lightning.volumes.reading import read_volume
from syncsam_lightning.volumes.segmentation_reading import read_segment_masks, read_segment_names
from tests.dicom_files import save_slice

OBLIQUE = [0.8, 0.6, 0.0, 0.0, 0.0, -1.0]
KINDS = hd.seg.SegmentationTypeValues
MASKS = np.zeros((4, 5, 6, 2), np.uint8)  # slices, rows, columns, segments
MASKS[1:3, 1:4, 2:5, 0] = 1
MASKS[2, 2, 2:, 1] = 1
MASKS[3, 4, 0, 1] = 1


@pytest.fixture
def images(tmp_path: Path) -> list[pydicom.Dataset]:
    """An oblique series of 4 slices, in order."""
    normal = np.cross(OBLIQUE[:3], OBLIQUE[3:])
    (tmp_path / "series").mkdir()
    return [
        pydicom.dcmread(
            save_slice(
                tmp_path / f"series/{k}.dcm", np.zeros((5, 6)), tuple((2.5 * k * normal).round(6)),
                ImageOrientationPatient=OBLIQUE,
            )
        )
        for k in range(4)
    ]  # fmt: skip


def saved(
    path: Path, images: list[pydicom.Dataset], pixels: np.ndarray, kind: KINDS, **options: object
) -> Path:
    """Write a SEG as highdicom does, with the segments ``first`` and ``second``."""
    segments = [
        hd.seg.SegmentDescription(
            segment_number=number, segment_label=label,
            segmented_property_category=codes.SCT.Tissue,
            segmented_property_type=codes.SCT.Tissue,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, label in ((1, "first"), (2, "second"))
    ]  # fmt: skip
    hd.seg.Segmentation(
        source_images=images, pixel_array=pixels, segmentation_type=kind,
        segment_descriptions=segments, series_instance_uid=hd.UID(), series_number=9,
        sop_instance_uid=hd.UID(), instance_number=1, manufacturer="Somebody",
        manufacturer_model_name="m", software_versions="1", device_serial_number="1", **options,
    ).save_as(path)  # fmt: skip
    return path


def drawn(path: Path, volume: Volume) -> np.ndarray:
    """Return ``(K, J, I, segments)`` as :data:`MASKS` are."""
    masks = read_segment_masks(path, place_of(volume))
    return np.stack([masks.mask(number).T for number in (1, 2)], -1)


@pytest.mark.parametrize("omit_empty_frames", [True, False])
def test_segments_that_overlap_are_as_they_were_drawn(
    tmp_path: Path, images: list[pydicom.Dataset], omit_empty_frames: bool
):
    path = saved(
        tmp_path / "s.dcm", images, MASKS, KINDS.BINARY, omit_empty_frames=omit_empty_frames
    )
    volume = read_volume(tmp_path / "series")
    assert read_segment_names(path) == {1: "first", 2: "second"}
    found = drawn(path, volume)
    uids = [pydicom.dcmread(file).SOPInstanceUID for file in volume.files]
    other = hd.seg.segread(path).get_pixels_by_source_instance(
        uids, assert_missing_frames_are_empty=True
    )
    np.testing.assert_array_equal(found, other)
    assert found.sum() == MASKS.sum()


def test_a_label_map_is_read_by_its_numbers(tmp_path: Path, images: list[pydicom.Dataset]):
    labels = MASKS[..., 0] * (1 - MASKS[..., 1]) + 2 * MASKS[..., 1]
    path = saved(tmp_path / "s.dcm", images, labels, KINDS.LABELMAP)
    binary = saved(tmp_path / "b.dcm", images, labels, KINDS.BINARY)
    volume = read_volume(tmp_path / "series")
    np.testing.assert_array_equal(drawn(path, volume), drawn(binary, volume))
    assert drawn(path, volume).sum() == (labels > 0).sum()


@pytest.mark.parametrize("background", [0, 7])
def test_the_background_of_a_label_map_is_no_segment(
    tmp_path: Path, images: list[pydicom.Dataset], background: int
):
    path = saved(tmp_path / "s.dcm", images, MASKS[..., 0], KINDS.LABELMAP)
    dataset = pydicom.dcmread(path)
    listed = {one.SegmentLabel: one for one in dataset.SegmentSequence}
    listed["Background"].SegmentNumber = dataset.PixelPaddingValue = background
    dataset.save_as(path)
    assert read_segment_names(path) == {1: "first", 2: "second"}


def test_shares_are_refused(tmp_path: Path, images: list[pydicom.Dataset]):
    path = saved(tmp_path / "s.dcm", images, MASKS.astype(np.float32) / 2, KINDS.FRACTIONAL)
    with pytest.raises(BrokenInputError, match="is a DICOM SEG of shares"):
        read_segment_names(path)


def test_part_of_an_image_may_be_covered(tmp_path: Path, images: list[pydicom.Dataset]):
    path = saved(tmp_path / "s.dcm", images, MASKS, KINDS.BINARY)
    volume = read_volume(tmp_path / "series")
    affine = volume.affine.copy()
    affine[:3, 3] -= volume.affine[:3, :3] @ (2, 1, 3)
    larger = Place((10, 8, 9), affine)
    found = read_segment_masks(path, larger).mask(1)
    np.testing.assert_array_equal(found[2:8, 1:6, 3:7], drawn(path, volume)[..., 0].T)
    assert found.sum() == MASKS[..., 0].sum()


@pytest.mark.parametrize(
    ("moved", "reason"), [(0.4, "between the voxels"), (30.0, "beside the voxels")]
)
def test_another_place_is_told(
    tmp_path: Path, images: list[pydicom.Dataset], moved: float, reason: str
):
    path = saved(tmp_path / "s.dcm", images, MASKS, KINDS.BINARY)
    volume = read_volume(tmp_path / "series")
    affine = volume.affine.copy()
    affine[:3, 3] += volume.affine[:3, :3] @ (moved, 0, 0)
    with pytest.raises(BrokenInputError, match=rf"s\.dcm\[\d\]: lies {reason} of its image"):
        read_segment_masks(path, Place(volume.shape, affine))


def test_masks_take_hardly_more_memory_than_their_pixels(tmp_path: Path):
    (tmp_path / "series").mkdir()
    images = [
        pydicom.dcmread(
            save_slice(tmp_path / f"series/{k}.dcm", np.zeros((128, 128)), (0.0, 0.0, 2.5 * k))
        )
        for k in range(20)
    ]
    path = saved(tmp_path / "s.dcm", images, np.ones((20, 128, 128, 2), np.uint8), KINDS.BINARY)
    place = place_of(read_volume(tmp_path / "series"))
    read_segment_masks(path, place)  # what is imported doesn't count
    tracemalloc.start()
    masks = read_segment_masks(path, place)
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert masks.mask(2).all()
    assert kept < 2 * 2 * 20 * 128 * 128
