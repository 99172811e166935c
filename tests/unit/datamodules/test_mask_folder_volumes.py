from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from syncsam_datamodules.mask_folder import MaskFolder

from syncsam_lightning.data.readers import resolve_image, resolve_mask
from syncsam_lightning.records import RawSample, Skipped

SPACING = (1.0, 1.0, 3.0)
# Axes: right (4), anterior (5), superior (3), as in RAS.
VOXELS = np.arange(60, dtype=np.int16).reshape(4, 5, 3)
LABELS = np.zeros((4, 5, 3), dtype=np.uint8)
LABELS[3, 4, 0] = 1  # right, front, bottom
LABELS[0, :, 2] = 2  # left, top


def save(
    path: Path, voxels: np.ndarray, spacing: tuple[float, ...] = SPACING, affine: Any = None
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, np.diag([*spacing, 1]) if affine is None else affine), path)
    return path


def records(root: Path, **options: Any) -> tuple[list[RawSample], list[Skipped]]:
    found = list(MaskFolder(**options).records(root))
    samples = [item for item in found if isinstance(item, RawSample)]
    return samples, [item for item in found if isinstance(item, Skipped)]


def pixels(sample: RawSample) -> np.ndarray:
    return resolve_image(sample.image, sample.path)[..., 0]


def refusals(skipped: list[Skipped]) -> list[tuple[str, str]]:
    return [(skip.path, skip.reason) for skip in skipped]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_volume_is_cut_into_labelled_slices(tmp_path: Path, suffix: str):
    path = save(tmp_path / "images" / f"p1{suffix}", VOXELS)
    save(tmp_path / "masks" / f"p1{suffix}", LABELS)
    (bottom, top), skipped = records(tmp_path, label_names={2: "cyst"})
    assert (bottom.id, bottom.case, bottom.slice) == ("p1/0000", "p1", "0000")
    assert (top.id, [mask.label for mask in top.masks]) == ("p1/0002", ["cyst"])
    assert refusals(skipped) == [(str(path), "1 of its 3 slices carry no object")]


def test_front_is_up_and_right_is_left(tmp_path: Path):
    save(tmp_path / "images" / "p1.nii", VOXELS)
    save(tmp_path / "masks" / "p1.nii", LABELS)
    (bottom, top), _ = records(tmp_path)
    expected = np.zeros((5, 4), dtype=bool)
    expected[0, 0] = True
    np.testing.assert_array_equal(resolve_mask(bottom.masks[0].mask, ""), expected)
    expected[:] = False
    expected[:, 3] = True
    np.testing.assert_array_equal(resolve_mask(top.masks[0].mask, ""), expected)
    assert pixels(bottom).shape == (5, 4)
    assert np.argmax(pixels(bottom)) == 0


def test_a_volume_stored_in_another_orientation_gives_the_same_slices(tmp_path: Path):
    save(tmp_path / "images" / "p1.nii", VOXELS)
    save(tmp_path / "masks" / "p1.nii", LABELS)
    # The same voxels with the axes posterior, superior, left.
    affine = np.zeros((4, 4))
    affine[0, 2], affine[1, 0], affine[2, 1], affine[3, 3] = -1, -1, 3, 1
    affine[0, 3], affine[1, 3] = 3, 4
    for folder, voxels in (("images", VOXELS), ("masks", LABELS)):
        turned = voxels.transpose(1, 2, 0)[::-1, :, ::-1]
        save(tmp_path / folder / "p2.nii", np.ascontiguousarray(turned), affine=affine)
    samples, _ = records(tmp_path)
    assert [sample.id for sample in samples] == ["p1/0000", "p1/0002", "p2/0000", "p2/0002"]
    for one, other in zip(samples[:2], samples[2:], strict=True):
        np.testing.assert_array_equal(pixels(one), pixels(other))
        drawn = [resolve_mask(sample.masks[0].mask, "") for sample in (one, other)]
        np.testing.assert_array_equal(*drawn)


@pytest.mark.parametrize(
    ("spacing", "shape"),
    [((3, 1, 1), (3, 5)), ((1, 3, 1), (3, 4)), ((1, 1, 3), (5, 4)), ((1, 1, 1), (5, 4))],
)
def test_slices_lie_across_the_axis_of_lowest_resolution(
    tmp_path: Path, spacing: tuple[float, ...], shape: tuple[int, int]
):
    save(tmp_path / "images" / "p1.nii", VOXELS, spacing)
    save(tmp_path / "masks" / "p1.nii", LABELS, spacing)
    samples, _ = records(tmp_path)
    assert {pixels(sample).shape for sample in samples} == {shape}


def test_intensities_are_windowed_over_the_volume(tmp_path: Path):
    voxels = np.tile(np.linspace(-1000, 1000, 10_000).reshape(100, 100, 1), (1, 1, 2))
    labels = np.zeros((100, 100, 2), dtype=np.uint8)
    labels[0, 0] = 1
    save(tmp_path / "images" / "p1.nii", voxels)
    save(tmp_path / "masks" / "p1.nii", labels)
    (first, _), _ = records(tmp_path)
    flat = pixels(first).ravel()
    assert ((flat == 0).mean(), (flat == 255).mean()) == pytest.approx((0.007, 0.007), abs=0.001)
    # Left, back (the lowest value) is the lower right corner.
    assert (pixels(first)[-1, -1], pixels(first)[0, 0]) == (0, 255)


def test_a_constant_volume_is_black(tmp_path: Path):
    save(tmp_path / "images" / "p1.nii", np.full((4, 5, 3), 7.0))
    save(tmp_path / "masks" / "p1.nii", LABELS)
    samples, _ = records(tmp_path)
    assert [pixels(sample).max() for sample in samples] == [0, 0]


def test_volumes_of_single_objects_are_labelled_by_their_names(tmp_path: Path):
    save(tmp_path / "images" / "p1.nii.gz", VOXELS)
    save(tmp_path / "masks" / "p1" / "cyst.nii.gz", LABELS // 2)
    save(tmp_path / "masks" / "p1--cyst--2.nii.gz", (LABELS == 1).astype(np.float32))
    samples, _ = records(tmp_path)
    found = [(s.slice, m.label, m.instance) for s in samples for m in s.masks]
    assert found == [("0000", "cyst", 2), ("0002", "cyst", 0)]


@pytest.mark.parametrize(
    ("labels", "affine", "reason"),
    [
        (np.ones((4, 5, 2), np.uint8), None, "has shape (4, 5, 2), its image (4, 5, 3)"),
        (
            LABELS,
            np.diag([1.0, 1.0, 4.0, 1.0]),
            "lies elsewhere in space than its image: a corner is 0.67 voxels away",
        ),
        (
            np.full((4, 5, 3), 0.5),
            None,
            "not a label map: it holds 0.5, and labels are whole numbers. If it is a mask of one "
            "object or a probability map, set mask_threshold",
        ),
        (np.full((4, 5, 3), -1.0), None, "not a label map: it holds -1, which is below 0"),
        (
            np.full((4, 5, 3), np.nan),
            None,
            "holds values that are not finite: 60 of 60 voxels (60 NaN, 0 infinite); give them a "
            "number and save it again",
        ),
        (
            np.ones((4, 5, 3, 2), np.uint8),
            None,
            "not a volume: its shape is (4, 5, 3, 2); save the part of three axes that you mean as "
            "a file of its own",
        ),
    ],
)
def test_a_mask_that_does_not_fit_is_skipped(
    tmp_path: Path, labels: np.ndarray, affine: Any, reason: str
):
    save(tmp_path / "images" / "p1.nii", VOXELS)
    path = save(tmp_path / "masks" / "p1.nii", labels, affine=affine)
    samples, (skipped,) = records(tmp_path)
    assert samples == []
    assert (skipped.path, skipped.reason) == (str(path), reason)


def test_labels_with_a_scale_factor_are_those_that_were_stored(tmp_path: Path):
    save(tmp_path / "images" / "p1.nii", VOXELS)
    scaled = nib.Nifti1Image(LABELS, np.diag([*SPACING, 1]))
    scaled.header.set_slope_inter(np.float32(1 / 3), 0)
    (tmp_path / "masks").mkdir()
    nib.save(scaled, tmp_path / "masks" / "p1.nii")
    stored = nib.load(tmp_path / "masks" / "p1.nii")
    values = np.asarray(stored.dataobj) * 3
    assert (values != np.rint(values)).any()
    save(tmp_path / "masks" / "p1.nii", values)
    samples, _ = records(tmp_path)
    assert [mask.label for sample in samples for mask in sample.masks] == ["class_1", "class_2"]


def test_a_probability_volume_takes_a_threshold(tmp_path: Path):
    save(tmp_path / "images" / "p1.nii", VOXELS)
    save(tmp_path / "masks" / "p1.nii", LABELS * 0.4)
    (top,), _ = records(tmp_path, mask_threshold=0.5)
    assert (top.slice, [mask.label for mask in top.masks]) == ("0002", ["object"])


@pytest.mark.parametrize("keep", [0, 100, 380])
@pytest.mark.parametrize("folder", ["images", "masks"])
def test_a_damaged_volume_is_skipped(tmp_path: Path, folder: str, keep: int):
    save(tmp_path / "images" / "p1.nii", VOXELS)
    save(tmp_path / "masks" / "p1.nii", LABELS)
    path = tmp_path / folder / "p1.nii"
    path.write_bytes(path.read_bytes()[:keep])
    samples, skipped = records(tmp_path)
    assert samples == []
    assert skipped[0].path == str(path)


@pytest.mark.parametrize("at", [5, 30, -6])
def test_a_flipped_byte_in_a_packed_volume_is_found(tmp_path: Path, at: int):
    path = save(tmp_path / "images" / "p1.nii.gz", VOXELS)
    save(tmp_path / "masks" / "p1.nii.gz", LABELS)
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)
    samples, skipped = records(tmp_path)
    if at == 5:  # the time stamp in the gzip header, which nothing depends on
        assert len(samples) == 2
    else:
        assert samples == []
        assert skipped[0].path == str(path)


def test_a_flat_mask_of_a_volume_is_refused(tmp_path: Path):
    save(tmp_path / "images" / "p1.nii", VOXELS)
    path = tmp_path / "masks" / "p1.png"
    path.parent.mkdir()
    path.write_bytes(b"")
    _, (skipped, _) = records(tmp_path)
    assert skipped.path == str(path)
    assert skipped.reason.startswith("a mask of p1.nii must be one of .nii .nii.gz .nrrd")
