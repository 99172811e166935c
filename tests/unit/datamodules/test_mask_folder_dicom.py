"""DICOM series, pictures and films, and DICOM SEG, as images and masks of MaskFolder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from syncsam_datamodules.mask_folder import MaskFolder

from syncsam_lightning.data.conversion.source_state import SourceState
from syncsam_lightning.data.conversion.units import identify_files
from syncsam_lightning.data.readers import resolve_image, resolve_mask
from syncsam_lightning.volumes.dicom import read_series
from syncsam_lightning.volumes.reading import read_volume
from syncsam_lightning.volumes.segmentation import write_segmentation
from tests.dicom_files import save_colours, save_frames, save_slice
from tests.itk_files import save_itk
from tests.labelled_volumes import (
    LABELS,
    VOXELS,
    assert_alike,
    drawn,
    nifti,
    records,
)

# DICOM


@pytest.fixture
def series(dicom: Callable[..., list[Path]], tmp_path: Path) -> Path:
    """A root with the series ``images/p1``, beside which its masks are to lie."""
    files = dicom(VOXELS)
    (tmp_path / "root/images").mkdir(parents=True)
    (tmp_path / "root/masks").mkdir()
    files[0].parent.rename(tmp_path / "root/images/p1")
    return tmp_path / "root"


def volume_of(root: Path) -> Any:
    return read_series(sorted((root / "images/p1").iterdir()))


def as_nifti(root: Path, target: Path) -> Path:
    """Write a series and its labels as the NIfTI files that they are compared with."""
    volume = volume_of(root)
    nifti(target / "images/p1.nii", volume.voxels, volume.affine)
    nifti(target / "masks/p1.nii", LABELS, volume.affine)
    return target


def seg(path: Path, root: Path, **masks: np.ndarray) -> Path:
    path.parent.mkdir(exist_ok=True)
    write_segmentation(path, masks, volume_of(root))
    return path


def write_masks(root: Path, kind: str) -> None:
    affine = volume_of(root).affine
    if kind in (".nii.gz", ".nrrd", ".mha"):
        save = nifti if kind == ".nii.gz" else save_itk
        save(root / f"masks/p1{kind}", LABELS, affine)
    elif kind == "folder":
        for value in (1, 2):
            save_itk(root / f"masks/p1/class_{value}.nrrd", LABELS // value % 2, affine)
    else:
        seg(root / f"masks/p1{kind}", root, class_1=LABELS == 1, class_2=LABELS == 2)


@pytest.mark.parametrize("kind", [".nii.gz", ".nrrd", ".mha", "folder", ".seg.dcm", ".dcm"])
def test_a_folder_with_a_series_is_a_volume(series: Path, tmp_path: Path, kind: str):
    write_masks(series, kind)
    expected, _ = records(as_nifti(series, tmp_path / "nifti"), window="soft_tissue")
    found, skipped = records(series, window="soft_tissue")
    assert_alike(found, expected)
    assert {skip.kind for skip in skipped} <= {"slice without object"}
    files = sorted(str(path) for path in (series / "images/p1").iterdir())
    assert list(found[0].files) == files


def test_segments_may_overlap_and_keep_label_and_number(series: Path):
    everything = np.ones(LABELS.shape, bool)
    masks = {"left kidney": LABELS == 1, "cyst--2": LABELS == 2, "x" * 70: everything}
    seg(series / "masks/p1.seg.dcm", series, **masks)
    samples, skipped = records(series)
    assert skipped == []
    found = [[(m.label, m.instance) for m in sample.masks] for sample in samples]
    whole = ("x" * 70, 0)
    assert found == [[("left kidney", 0), whole], [whole], [("cyst", 2), whole]]
    np.testing.assert_array_equal(drawn(samples)[1][2]["x" * 70], np.ones((5, 4), bool))


def test_a_seg_lies_by_its_positions_on_a_volume_of_other_axes(series: Path, tmp_path: Path):
    volume = volume_of(series)
    seg(tmp_path / "m.dcm", series, class_1=LABELS == 1, class_2=LABELS == 2)
    root = tmp_path / "other"
    nifti(root / "images/p1.nii", volume.voxels, volume.affine)
    nifti(root / "masks/p1.nii", LABELS, volume.affine)
    other = volume.oriented("SRP")
    nifti(root / "images/p2.nii", other.voxels, other.affine)
    shutil.copy(tmp_path / "m.dcm", root / "masks/p2.seg.dcm")
    samples, _ = records(root)
    half = len(samples) // 2
    assert_alike(samples[:half], samples[half:])


def test_a_seg_of_another_place_is_a_listed_skip(series: Path):
    path = seg(series / "masks/p1.seg.dcm", series, liver=LABELS == 1)
    for file in (series / "images/p1").iterdir():
        image = pydicom.dcmread(file)
        image.ImagePositionPatient = [image.ImagePositionPatient[0] + 0.35, *list(
            image.ImagePositionPatient)[1:]]  # fmt: skip
        image.save_as(file)
    samples, skipped = records(series)
    assert samples == []
    assert "lies between the voxels of its image" in skipped[0].reason
    assert skipped[0].path.startswith(str(path))


def test_what_is_dicom_and_no_seg_is_no_mask(series: Path):
    shutil.copy(sorted((series / "images/p1").iterdir())[0], series / "masks/p1.dcm")
    samples, skipped = records(series)
    assert samples == []
    assert skipped[0].reason == "is DICOM, but no DICOM SEG, which alone of DICOM holds masks"


@pytest.mark.parametrize("tags", [["SeriesInstanceUID"], ["SeriesInstanceUID", "StudyInstanceUID"]])
def test_a_folder_of_two_series_or_studies_is_a_listed_skip_that_names_them(
    series: Path, tags: list[str]
):
    write_masks(series, ".nii.gz")
    first = sorted((series / "images/p1").iterdir())[0]
    image = pydicom.dcmread(first)
    image.SeriesDescription = "portal"
    for tag in tags:
        setattr(image, tag, f"{image[tag].value}.9")
    image.save_as(first)
    samples, (skipped,) = records(series)
    assert samples == []
    assert skipped.path == str(series / "images/p1")
    assert "portal (1)" in skipped.reason
    assert "give a folder with one" in skipped.reason


def test_a_folder_whose_series_lies_deeper_is_a_listed_skip_that_says_so(series: Path):
    folder = series / "images/p1"
    write_masks(series, ".nii.gz")
    seg(series / "index.dcm", series, liver=LABELS == 1)
    (series / "images/moved").mkdir()
    folder.rename(series / "images/moved/deeper")
    (series / "images/moved").rename(folder)
    (series / "index.dcm").rename(folder / "index.dcm")
    _, skipped = records(series)
    assert "no DICOM series itself (folders in it are not looked into)" in skipped[-1].reason


def test_what_lies_beside_the_series_is_left_out_and_told(series: Path):
    write_masks(series, ".nii.gz")
    alone, _ = records(series)
    seg(series / "images/p1/old.seg.dcm", series, liver=LABELS == 1)
    (series / "images/p1/notes.txt").write_text("x")
    found, skipped = records(series)
    assert_alike(found, alone)
    assert skipped[0].path == str(series / "images/p1")
    assert skipped[0].reason.startswith("1 DICOM file is left out, being no image of a series")


def test_a_folder_of_a_damaged_file_is_a_listed_skip(series: Path):
    write_masks(series, ".nii.gz")
    file = sorted((series / "images/p1").iterdir())[1]
    file.write_bytes(file.read_bytes()[:200])
    samples, (skipped,) = records(series)
    assert samples == []
    assert skipped.path == str(file)


# DICOM files of one image


@pytest.mark.parametrize("image", ["r1.dcm", "r1.IMA", "r1", "1.2.840.1"])
@pytest.mark.parametrize("mask", ["png", "nii.gz", "seg.dcm"])
def test_a_radiograph_is_a_picture(tmp_path: Path, image: str, mask: str):
    name = "r1" if image.startswith("r1") else image
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    stored = np.arange(30).reshape(5, 6)
    path = save_slice(
        tmp_path / "images" / image, stored, (0.0, 0.0, 0.0), Modality="DX", PixelSpacing=[2, 2],
        ImagePositionPatient=None, ImageOrientationPatient=None,
    )  # fmt: skip
    bones = np.zeros((5, 6), np.uint8)
    bones[1:3, 2:5] = 1
    volume = read_series([path])
    target = tmp_path / "masks" / f"{name}.{mask}"
    if mask == "png":
        Image.fromarray(bones).save(target)
    elif mask == "nii.gz":
        nifti(target, bones.T[..., None], volume.affine)
    else:
        write_segmentation(target, {"class_1": bones.T[..., None] == 1}, volume)
    samples, skipped = records(tmp_path, window="minmax")
    assert skipped == []
    ((_, pixels, masks),) = drawn(samples)
    np.testing.assert_array_equal(pixels, np.round(stored / 29 * 255))
    np.testing.assert_array_equal(masks["class_1"], bones == 1)
    assert samples[0].case == name


def test_a_picture_is_no_mask_of_a_stack(tmp_path: Path, series: Path):
    Image.fromarray(np.ones((5, 4), np.uint8)).save(series / "masks/p1.png")
    _, (skipped, _) = records(series)
    assert skipped.reason.startswith("a mask of p1 must be one of .nii .nii.gz .nrrd")


# Enhanced DICOM


@pytest.mark.parametrize("place", ["p1", "p1.dcm"])
def test_enhanced_files_are_volumes_in_a_folder_or_alone(tmp_path: Path, place: str):
    voxels, heights = VOXELS.transpose(1, 0, 2), (0.0, 3.0, 6.0)
    path = tmp_path / "root/images" / place
    path.parent.mkdir(parents=True)
    (tmp_path / "root/masks").mkdir()
    if place == "p1":
        path.mkdir()
        for number, held in enumerate(([0, 2], [1])):
            save_frames(path / f"{number}.dcm", voxels[..., held], [heights[k] for k in held])
    else:
        save_frames(path, voxels, heights)
    volume = read_volume(path)
    masks = {"class_1": LABELS == 1, "class_2": LABELS == 2}
    write_segmentation(tmp_path / "root/masks/p1.seg.dcm", masks, volume)
    nifti(tmp_path / "nifti/images/p1.nii", VOXELS, volume.affine)
    nifti(tmp_path / "nifti/masks/p1.nii", LABELS, volume.affine)
    found, _ = records(tmp_path / "root")
    expected, _ = records(tmp_path / "nifti")
    assert_alike(found, expected)


# Colour and films


def colours(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)


@pytest.mark.parametrize("mask", ["png", "nii.gz", "nrrd"])
def test_an_ultrasound_in_colour_is_a_picture_in_colour(tmp_path: Path, mask: str):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    pixels, drawn_mask = colours(5, 6), np.zeros((5, 6), np.uint8)
    drawn_mask[1:3, 2:5] = 1
    path = save_colours(tmp_path / "images/u1.dcm", pixels)
    target = tmp_path / f"masks/u1.{mask}"
    if mask == "png":
        Image.fromarray(drawn_mask).save(target)
    else:
        save = nifti if mask == "nii.gz" else save_itk
        save(target, drawn_mask.T[..., None], read_volume(path).affine)
    (sample,), skipped = records(tmp_path, window="soft_tissue")
    assert skipped == []
    np.testing.assert_array_equal(resolve_image(sample.image, sample.path), pixels)
    np.testing.assert_array_equal(resolve_mask(sample.masks[0].mask, ""), drawn_mask)


def test_each_frame_of_a_film_is_an_image(tmp_path: Path):
    (tmp_path / "images").mkdir()
    frames, masks = colours(4, 5, 6), np.zeros((4, 5, 6), np.uint8)
    masks[1, 1:3, 2:5] = masks[3, 0] = 1
    save_colours(tmp_path / "images/u1.dcm", frames)
    nifti(tmp_path / "masks/u1.nii.gz", masks.T, np.diag([-1.0, -1.0, 1.0, 1.0]))
    samples, _ = records(tmp_path)
    assert [sample.slice for sample in samples] == ["0001", "0003"]
    for sample, frame in zip(samples, (1, 3), strict=True):
        np.testing.assert_array_equal(resolve_image(sample.image, ""), frames[frame])
        np.testing.assert_array_equal(resolve_mask(sample.masks[0].mask, ""), masks[frame])


def test_a_picture_is_no_mask_of_a_film(tmp_path: Path):
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    save_colours(tmp_path / "images/u1.dcm", colours(4, 5, 6))
    Image.fromarray(np.ones((5, 6), np.uint8)).save(tmp_path / "masks/u1.png")
    samples, (skipped,) = records(tmp_path)
    assert samples == []
    assert skipped.reason == "has shape (6, 5, 1), its image (6, 5, 4)"


def test_a_file_of_a_series_that_was_mended_is_a_change_of_the_release(series: Path):
    before = SourceState.of(series, MaskFolder().reads)
    file = sorted((series / "images/p1").iterdir())[0]
    file.write_bytes(file.read_bytes() + b"\0\0")
    after = SourceState.of(series, MaskFolder().reads)
    assert (before.files, after.size - before.size) == (after.files, 2)


def test_a_mended_file_of_a_series_is_read_again(series: Path, tmp_path: Path):
    write_masks(series, ".nii.gz")
    samples, _ = records(series)
    files = [*identify_files(samples[0].files)]
    file = sorted((series / "images/p1").iterdir())[0]
    file.write_bytes(file.read_bytes() + b"\0\0")
    assert [*identify_files(samples[0].files)] != files
