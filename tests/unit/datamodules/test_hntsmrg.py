"""HNTS-MRG on small releases of its layout, sound and damaged."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from syncsam_datamodules.hntsmrg import HNTSMRG

from syncsam_lightning.data.conversion import Workbench, WorkOptions

SHAPE = (32, 24, 5)
# 2 of 768 pixels are above the threshold of 1.17, 1 is not.
AFFINE = np.diag([1.0, 1, 3, 1])


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 900, SHAPE).astype(np.int16)


def tumours() -> np.ndarray:
    """Primary tumour in two parts on slice 1, as one speck on slice 2; nodes on slices 1 and 3."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:6, 3:9, 1] = labels[20:25, 3:9, 1] = 1
    labels[2, 3, 2] = 1
    labels[10:14, 12:20, 1] = labels[10:14, 12:20, 3] = 2
    return labels


def save(path: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def case(
    root: Path,
    name: str,
    image: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    visit: str = "preRT",
    affine: np.ndarray = AFFINE,
) -> tuple[Path, Path]:
    start = root / "HNTSMRG24_train" / name / visit
    return (
        save(start / f"{name}_{visit}_T2.nii.gz", noise() if image is None else image, affine),
        save(
            start / f"{name}_{visit}_mask.nii.gz", tumours() if labels is None else labels, affine
        ),
    )


def test_the_paper_takes_the_primary_tumour_of_a_slice_as_one_object(tmp_path: Path, convert: Any):
    case(tmp_path, "7")
    found = convert(HNTSMRG, tmp_path)
    assert found.labels == {"HNTSMRG/7/0001": ["primary tumour"]}
    # As stored: rows are the first axis.
    np.testing.assert_array_equal(found.masks["HNTSMRG/7/0001"][0], tumours()[:, :, 1] == 1)
    assert found.kinds() == ["object too small", "slice without object"]
    assert "1 objects cover no more than 0.1526%" in found.reason("object too small")
    assert "4 of its 5 slices carry no object" in found.reason("slice without object")


def test_the_paper_stretches_every_slice_over_all_greys(tmp_path: Path, convert: Any):
    image = noise()
    image[:, :, 1] = image[:, :, 1] // 10 + 500
    case(tmp_path, "7", image)
    found = convert(HNTSMRG, tmp_path).images["HNTSMRG/7/0001"][..., 0]
    plane = image[:, :, 1].astype(float)
    expected = (plane - plane.min()) / (plane.max() - plane.min()) * 255
    assert (found.min(), found.max()) == (0, 255)
    assert np.abs(found - expected).max() <= 0.5


def test_nodes_and_components_are_objects_where_recommended(tmp_path: Path, convert: Any):
    case(tmp_path, "7")
    found = convert(HNTSMRG, tmp_path, preprocessing="recommended")
    assert found.labels == {
        "HNTSMRG/7/0001": ["primary tumour", "primary tumour", "lymph nodes"],
        "HNTSMRG/7/0003": ["lymph nodes"],
    }


def test_slices_stand_upright_where_recommended(tmp_path: Path, convert: Any):
    labels = np.zeros(SHAPE, np.uint8)
    labels[28:31, 20:24, 4] = 1  # right, front, top, as the affine has it
    flipped = np.diag([-1.0, -1, 3, 1])
    flipped[:2, 3] = SHAPE[0] - 1, SHAPE[1] - 1
    case(tmp_path, "ras", labels=labels)
    case(tmp_path, "lps", noise()[::-1, ::-1], labels[::-1, ::-1].copy(), affine=flipped)
    found = convert(HNTSMRG, tmp_path, preprocessing="recommended")
    upright = np.zeros((SHAPE[1], SHAPE[0]), bool)
    upright[0:4, 1:4] = True  # front is up, the patient's right is left
    for name in ("ras", "lps"):
        np.testing.assert_array_equal(found.masks[f"HNTSMRG/{name}/0004"][0], upright)
    np.testing.assert_array_equal(
        found.images["HNTSMRG/ras/0004"], found.images["HNTSMRG/lps/0004"]
    )


def test_all_of_a_slice_may_be_tumour(tmp_path: Path, convert: Any):
    case(tmp_path, "7", labels=np.ones(SHAPE, np.uint8))
    found = convert(HNTSMRG, tmp_path)
    assert len(found.masks) == SHAPE[2]
    assert all(masks[0].all() for masks in found.masks.values())


def test_later_visits_and_registered_scans_are_not_read(tmp_path: Path, convert: Any):
    case(tmp_path, "7")
    case(tmp_path, "7", visit="midRT")
    folder = tmp_path / "HNTSMRG24_train" / "7" / "midRT"
    save(folder / "7_preRT_mask_registered.nii.gz", tumours())
    save(folder / "7_preRT_T2_registered.nii.gz", noise())
    assert list(convert(HNTSMRG, tmp_path).masks) == ["HNTSMRG/7/0001"]


def test_what_cannot_be_used_is_listed_by_its_reason(tmp_path: Path, convert: Any):
    constant = noise()
    constant[:, :, 1] = 40
    case(tmp_path, "constant", constant)
    case(tmp_path, "good")
    case(tmp_path, "unmasked")[1].unlink()
    case(tmp_path, "imageless")[0].unlink()
    case(tmp_path, "empty", labels=np.zeros(SHAPE, np.uint8))
    case(tmp_path, "shape", labels=tumours()[:20])
    case(tmp_path, "values", labels=np.where(tumours() == 1, 5, 0).astype(np.uint8))
    for name, which in (("bad_image", 0), ("bad_mask", 1)):
        path = case(tmp_path, name)[which]
        path.write_bytes(path.read_bytes()[:-60])
    copy = tmp_path / "copy"
    case(copy, "good")
    found = convert(HNTSMRG, tmp_path)
    assert list(found.masks) == ["HNTSMRG/good/0001"]
    kinds = [k for k in found.kinds() if k not in ("object too small", "slice without object")]
    assert kinds == [
        "constant slice",
        "image without mask",
        "mask without image",
        "same name twice",
        "same name twice",
        "shape mismatch",
        "unknown label value",
        "unreadable file",
        "unreadable file",
    ]
    assert "all its pixels are 0 (values 40 to 40)" in found.reason("constant slice")
    assert "the values [5], on 2 slices, have no name" in found.reason("unknown label value")


def test_labels_that_lie_elsewhere_are_refused_where_slices_are_turned(
    tmp_path: Path, convert: Any
):
    case(tmp_path, "good")
    _, mask = case(tmp_path, "moved")
    moved = AFFINE.copy()
    moved[0, 3] = 40
    save(mask, tumours(), moved)
    assert len(convert(HNTSMRG, tmp_path).masks) == 2
    found = convert(HNTSMRG, tmp_path, preprocessing="recommended")
    assert {name.split("/")[1] for name in found.masks} == {"good"}
    assert "lies elsewhere in space than its image" in found.reason("place mismatch")


def test_volumes_are_read_out_of_an_archive(tmp_path: Path, convert: Any):
    root = tmp_path / "release"
    case(root, "7")
    with zipfile.ZipFile(tmp_path / "release.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(root.rglob("*.nii.gz")):
            archive.write(path, path.relative_to(root))
    packed, unpacked = convert(HNTSMRG, tmp_path / "release.zip"), convert(HNTSMRG, root)
    assert packed.masks.keys() == unpacked.masks.keys() == {"HNTSMRG/7/0001"}
    for name, image in unpacked.images.items():
        np.testing.assert_array_equal(packed.images[name], image)


def test_labels_are_read_once_however_often_records_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    case(tmp_path, "7")
    bench = Workbench(tmp_path / "work", {}, WorkOptions(progress=False))
    records = HNTSMRG().open_records(tmp_path, bench)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr("syncsam_lightning.data.volume_files.read_stored", refuse)
    for _ in range(2):
        assert [item.id for item in records()] == ["HNTSMRG/7/0001"]
    assert [skip.kind for skip in bench.skipped()] == ["object too small", "slice without object"]
