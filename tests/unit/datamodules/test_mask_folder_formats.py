"""NRRD, MetaImage and segmentations of 3D Slicer as images and masks of MaskFolder."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from syncsam_lightning.errors import MissingPackageError
from tests.itk_files import nrrd, save_itk
from tests.labelled_volumes import (
    AFFINE,
    LABELS,
    VOXELS,
    assert_alike,
    drawn,
    nifti,
    records,
    turned,
)

# NRRD and MetaImage


@pytest.mark.parametrize("mask", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("image", [".nii.gz", ".nrrd", ".mha"])
def test_every_format_gives_the_slices_of_nifti(tmp_path: Path, image: str, mask: str):
    nifti(tmp_path / "nifti/images/p1.nii", VOXELS)
    nifti(tmp_path / "nifti/masks/p1.nii", LABELS)
    for folder, suffix, voxels in (("images", image, VOXELS), ("masks", mask, LABELS)):
        path = tmp_path / "mixed" / folder / f"p1{suffix}"
        if suffix == ".nii.gz":
            nifti(path, voxels)
        else:
            save_itk(path, *turned(voxels))
    expected, _ = records(tmp_path / "nifti")
    found, skipped = records(tmp_path / "mixed")
    assert_alike(found, expected)
    assert [skip.kind for skip in skipped] == ["slice without object"]


def segmentation(path: Path, voxels: np.ndarray, *lines: str, origin: str = "(0,0,0)") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    vectors, kinds = "(1,0,0) (0,1,0) (0,0,3)", "domain domain domain"
    if voxels.ndim == 4:
        vectors, kinds = f"none {vectors}", f"list {kinds}"
    space = "right-anterior-superior"
    data = nrrd(voxels, *lines, space=space, directions=vectors, kinds=kinds, origin=origin)
    path.write_bytes(data)
    return path


NAMES = ("Segment0_Name:=liver", "Segment0_LabelValue:=1", "Segment0_Layer:=0")
NAMES += ("Segment1_Name:=cyst", "Segment1_LabelValue:=2", "Segment1_Layer:=0")


@pytest.mark.parametrize("label_names", [{}, {2: "tumour"}])
def test_a_segmentation_of_slicer_names_its_objects(tmp_path: Path, label_names: dict[int, str]):
    nifti(tmp_path / "images/p1.nii", VOXELS)
    segmentation(tmp_path / "masks/p1.seg.nrrd", LABELS, *NAMES)
    samples, _ = records(tmp_path, label_names=label_names)
    labels = [mask.label for sample in samples for mask in sample.masks]
    assert labels == ["liver", label_names.get(2, "cyst")]


def test_objects_of_several_layers_may_overlap(tmp_path: Path):
    nifti(tmp_path / "images/p1.nii", VOXELS)
    lines = (*NAMES, "Segment2_Name:=abdomen", "Segment2_LabelValue:=1", "Segment2_Layer:=1")
    layers = np.stack([LABELS, np.ones_like(LABELS)])
    segmentation(tmp_path / "masks/p1.seg.nrrd", layers, *lines)
    samples, skipped = records(tmp_path)
    assert skipped == []
    found = [(place, {label: int(m.sum()) for label, m in masks.items()})
             for place, _, masks in drawn(samples)]  # fmt: skip
    assert found == [
        ("0000", {"liver": 1, "abdomen": 20}),
        ("0001", {"abdomen": 20}),
        ("0002", {"cyst": 5, "abdomen": 20}),
    ]


@pytest.mark.parametrize("layers", [False, True])
@pytest.mark.parametrize(
    ("part", "pad", "origin"), [(np.s_[:, 3:, :], 0, "(0,3,0)"), (np.s_[:], 2, "(-2,-2,-6)")]
)
def test_a_segmentation_of_slicer_may_be_of_another_extent_than_its_image(
    tmp_path: Path, part: tuple[slice, ...], pad: int, origin: str, layers: bool
):
    labels = LABELS.copy()
    labels[:, :3] = 0
    save_itk(tmp_path / "images/p1.nrrd", *turned(VOXELS))
    nifti(tmp_path / "whole/images/p1.nii", VOXELS)
    segmentation(tmp_path / "whole/masks/p1.seg.nrrd", labels, *NAMES)
    extent = np.pad(labels[part], pad)
    extent = np.stack([extent, 0 * extent]) if layers else extent
    segmentation(tmp_path / "masks/p1.seg.nrrd", extent, *NAMES, origin=origin)
    samples, skipped = records(tmp_path)
    assert_alike(samples, records(tmp_path / "whole")[0])
    assert [skip.kind for skip in skipped] == ["slice without object"]


@pytest.mark.parametrize(
    ("origin", "kind"), [("(0,2,0)", "place mismatch"), ("(0,0.5,0)", "shape mismatch")]
)
def test_a_segmentation_of_slicer_beside_its_image_is_listed(
    tmp_path: Path, origin: str, kind: str
):
    nifti(tmp_path / "images/p1.nii", VOXELS)
    segmentation(tmp_path / "masks/p1.seg.nrrd", LABELS[:, 1:], *NAMES, origin=origin)
    samples, skipped = records(tmp_path)
    assert samples == []
    assert kind in [skip.kind for skip in skipped]


def test_a_volume_in_two_files_is_a_listed_skip(tmp_path: Path):
    nifti(tmp_path / "images/p1.nii", VOXELS)
    detached = save_itk(tmp_path / "masks/p1.nhdr", LABELS, AFFINE)
    nifti(tmp_path / "masks/p2.nii", LABELS)
    other = save_itk(tmp_path / "images/p2.mhd", VOXELS, AFFINE)
    samples, skipped = records(tmp_path)
    assert samples == []
    reasons = {skip.path: skip.reason for skip in skipped}
    assert "another file, p1.raw.gz: save it as one file (.nrrd" in reasons[str(detached)]
    assert "another file, p2.zraw: save it as one file (.mha" in reasons[str(other)]


def test_a_missing_package_ends_the_conversion_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    save_itk(tmp_path / "images/p1.nrrd", VOXELS, AFFINE)
    save_itk(tmp_path / "masks/p1.nrrd", LABELS, AFFINE)
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'syncsam-lightning\[itk\]'"):
        records(tmp_path)
