"""CURVAS on small releases of its layout: raters, labels as floats, windows, damage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from syncsam_datamodules.curvas import CURVAS

from syncsam_lightning.errors import DatasetNotFoundError

SHAPE = (32, 24, 3)
PANCREAS, KIDNEY, LIVER = 1, 2, 3


def organs() -> np.ndarray:
    """Both kidneys and the liver on slice 1, pancreas and liver on slice 2, nothing on slice 0."""
    labels = np.zeros(SHAPE, np.float64)
    labels[2:6, 3:7, 1] = labels[20:24, 3:7, 1] = KIDNEY
    labels[5:25, 12:22, 1:] = LIVER
    labels[2:6, 3:7, 2] = PANCREAS
    return labels


def scan() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 2000, SHAPE).astype(np.int16)


def case(
    root: Path,
    name: str = "UKCHLL_001",
    labels: np.ndarray | None = None,
    raters: tuple[int, ...] = (1, 2, 3),
    image: np.ndarray | None = None,
) -> Path:
    folder = root / "training_set" / name
    folder.mkdir(parents=True)
    save(folder / "image.nii.gz", scan() if image is None else image)
    for rater in raters:
        save(folder / f"annotation_{rater}.nii.gz", organs() if labels is None else labels)
    return folder


def save(path: Path, voxels: np.ndarray) -> None:
    nib.save(nib.Nifti1Image(voxels, np.diag([1.0, 1, 2, 1])), path)


ID = "CURVAS/training_set/UKCHLL_001"


def test_the_paper_takes_the_components_of_the_first_rater(tmp_path: Path, convert: Any):
    folder = case(tmp_path)
    for rater in (2, 3):
        save(folder / f"annotation_{rater}.nii.gz", np.zeros(SHAPE))
    found = convert(CURVAS, tmp_path)
    assert found.labels == {
        f"{ID}/0001": ["kidney", "kidney", "liver"],
        f"{ID}/0002": ["pancreas", "liver"],
    }
    left, right, liver = found.masks[f"{ID}/0001"]
    plane = organs()[:, :, 1]
    np.testing.assert_array_equal(left | right, plane == KIDNEY)
    np.testing.assert_array_equal(liver, plane == LIVER)
    assert found.kinds() == ["slice without object"]


def test_one_rater_is_enough_for_the_paper(tmp_path: Path, convert: Any):
    case(tmp_path, raters=(1,))
    assert len(convert(CURVAS, tmp_path).masks) == 2


def test_labels_are_rounded(tmp_path: Path, convert: Any):
    off = np.random.default_rng(1).uniform(-1e-3, 1e-3, SHAPE)
    case(tmp_path, labels=organs() + off)
    found = convert(CURVAS, tmp_path)
    assert found.labels[f"{ID}/0001"] == ["kidney", "kidney", "liver"]


def test_an_object_of_exactly_the_threshold_is_below_it(tmp_path: Path, convert: Any):
    shape = (256, 256, 1)
    labels = np.zeros(shape)
    labels[0:10, 0:10, 0] = PANCREAS  # 100 pixels of 256 x 256
    labels[50:60, 0:10, 0] = labels[60, 0, 0] = KIDNEY  # 101
    case(tmp_path, labels=labels, image=np.arange(256**2, dtype=np.int32).reshape(shape))
    assert convert(CURVAS, tmp_path).labels == {f"{ID}/0000": ["kidney"]}
    found = convert(CURVAS, tmp_path, preprocessing="recommended")
    assert found.labels == {f"{ID}/0000": ["pancreas", "kidney"]}


def disagreeing(root: Path) -> None:
    """Rater 1 draws a liver of columns 5 to 9, rater 2 to 14, rater 3 calls it all kidney to 19."""
    folder = case(root)
    for rater, (end, value) in {1: (10, LIVER), 2: (15, LIVER), 3: (20, KIDNEY)}.items():
        labels = np.zeros(SHAPE)
        labels[5:end, 5:15, 1] = value
        save(folder / f"annotation_{rater}.nii.gz", labels)


def test_the_majority_is_where_two_raters_agree(tmp_path: Path, convert: Any):
    disagreeing(tmp_path)
    found = convert(CURVAS, tmp_path, preprocessing="recommended")
    assert found.labels == {f"{ID}/0001": ["liver"]}
    assert int(found.masks[f"{ID}/0001"][0].sum()) == 5 * 10


def test_a_rater_can_be_chosen(tmp_path: Path, convert: Any):
    disagreeing(tmp_path)
    for rater, area in ((1, 50), (2, 100), (3, 150)):
        (masks,) = convert(CURVAS, tmp_path, raters=rater).masks.values()
        assert [int(mask.sum()) for mask in masks] == [area]


def test_all_raters_are_told_apart(tmp_path: Path, convert: Any):
    disagreeing(tmp_path)
    found = convert(CURVAS, tmp_path, raters="all")
    assert found.labels == {
        f"{ID}/0001": ["liver (rater 1)", "liver (rater 2)", "kidney (rater 3)"]
    }


def test_soft_tissue_is_windowed_where_recommended(tmp_path: Path, convert: Any):
    image = scan()
    image[0, 0, 1], image[0, 1, 1], image[0, 2, 1] = -160, 240, 41
    case(tmp_path, image=image)
    found = convert(CURVAS, tmp_path, preprocessing="recommended").images[f"{ID}/0001"][..., 0]
    # Front is up and the patient's right is left: index (0, y) is the last column, from below.
    assert (found[-1, -1], found[-2, -1], found[-3, -1]) == (0, 255, 128)


def test_scaled_values_are_hounsfield_units(tmp_path: Path, convert: Any):
    folder = case(tmp_path)
    image = nib.Nifti1Image(scan(), np.diag([1.0, 1, 2, 1]))
    image.header.set_slope_inter(2.0, -300.0)
    nib.save(image, folder / "image.nii.gz")
    stored = np.asanyarray(nib.load(folder / "image.nii.gz").dataobj)
    found = convert(CURVAS, tmp_path, preprocessing="recommended").images[f"{ID}/0001"][..., 0]
    expected = np.clip((stored[::-1, ::-1, 1].T + 160) / 400, 0, 1) * 255
    assert np.abs(found - expected).max() <= 0.51


def test_what_cannot_be_used_is_listed_by_its_reason(tmp_path: Path, convert: Any):
    case(tmp_path)
    case(tmp_path, "unrated", raters=(2,))
    (case(tmp_path, "imageless") / "image.nii.gz").unlink()
    case(tmp_path, "negative", labels=organs() - 2)
    case(tmp_path, "strange", labels=np.where(organs() == LIVER, 9, organs()))
    (case(tmp_path, "broken") / "annotation_1.nii.gz").write_bytes(b"\x1f\x8bnothing")
    found = convert(CURVAS, tmp_path)
    assert {name.split("/")[2] for name in found.masks} == {"UKCHLL_001", "strange"}
    kinds = [kind for kind in found.kinds() if kind != "slice without object"]
    assert kinds == [
        "image without mask",
        "mask without image",
        "not a label map",
        "unknown label value",
        "unreadable file",
    ]
    reasons = " ".join(line["reason"] for line in found.skipped)
    assert "values of plane 0 go from -2 to -2" in reasons
    assert "the values [9], on 2 slices, have no name" in reasons
    assert "there is no annotation_1.nii.gz beside it" in reasons


def test_the_sister_challenge_with_five_raters_is_refused(tmp_path: Path):
    case(tmp_path, raters=(1, 2, 3, 4, 5))
    with pytest.raises(DatasetNotFoundError, match="as CURVAS-PDACVI does"):
        list(CURVAS().records(tmp_path))


def test_unknown_raters_are_refused():
    with pytest.raises(ValueError, match="raters must be one of default, 1, 2"):
        CURVAS(raters=4)  # type: ignore[arg-type]
