"""Instance maps: each value of a label map is an object of one class, however many there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image
from syncsam_datamodules.mask_folder import MaskFolder

from syncsam_lightning.data import row as rows
from syncsam_lightning.data.conversion import WorkOptions
from syncsam_lightning.data.label_maps import MAX_EXTENT
from syncsam_lightning.data.readers import resolve_mask
from syncsam_lightning.data.sampler import TrainingKey
from syncsam_lightning.records import RawSample, Skipped

SIDE = 60
RNG = np.random.default_rng(0)


def cells(count: int) -> np.ndarray:
    """Return a map of cells of 2 x 2 pixels in a grid, in an order of their own."""
    across = SIDE // 3
    values = np.zeros(across**2, np.int64)
    values[:count] = 1 + RNG.permutation(count)
    padded = np.zeros((across, 3, across, 3), np.int64)
    padded[:, :2, :, :2] = values.reshape(across, 1, across, 1)
    return padded.reshape(SIDE, SIDE)


def folder(root: Path, labels: np.ndarray, name: str = "a.tif", split: str = "") -> Path:
    for part in ("images", "masks"):
        (root / split / part).mkdir(parents=True, exist_ok=True)
    stem = name.partition(".")[0]
    image = np.random.default_rng(len(stem)).integers(0, 256, labels.shape, np.uint8)
    Image.fromarray(image).save(root / split / "images" / f"{stem}.png")
    path = root / split / "masks" / name
    if name.endswith(".tif"):
        tifffile.imwrite(path, labels)
    else:
        Image.fromarray(labels).save(path)
    return root


def masks_of(root: Path, **options: Any) -> dict[tuple[str, int], np.ndarray]:
    (sample,) = MaskFolder(instance_label="cell", **options).records(root)
    assert isinstance(sample, RawSample)
    found = {(m.label, m.instance): resolve_mask(m.mask, m.path) for m in sample.masks}
    assert len(found) == len(sample.masks)
    return found


@pytest.mark.parametrize(
    ("name", "kind", "offset"),
    [
        ("a.png", np.uint8, 0),
        ("a.png", np.uint16, 60_000),
        ("a.tif", np.uint16, 60_000),
        ("a.tif", np.int32, 2**30),
        ("a.tif", np.uint32, 2**31),
        ("a.tif", np.float32, 1000),
        ("a.tif", np.float64, 2**40),
    ],
)
def test_each_value_is_an_object_however_it_is_stored(tmp_path: Path, name, kind, offset):
    labels = cells(200)
    stored = np.where(labels > 0, labels + offset, 0).astype(kind)
    found = masks_of(folder(tmp_path, stored, name))
    assert sorted(found) == [("cell", offset + value) for value in range(1, 201)]
    for (_, number), mask in found.items():
        np.testing.assert_array_equal(mask, labels == number - offset)


def test_shades_and_more_values_than_classes_may_be_are_instances_all_the_same(tmp_path: Path):
    # A ramp up to 255 is refused as soft edges where values are classes.
    ramp = np.zeros((SIDE, SIDE), np.uint8)
    ramp[20:40] = np.linspace(1, 255, SIDE).astype(np.uint8)
    assert len(masks_of(folder(tmp_path, ramp, "a.png"))) == len(np.unique(ramp)) - 1
    (listed, _) = MaskFolder().records(tmp_path)
    assert isinstance(listed, Skipped)


@pytest.mark.parametrize("components", [False, True])
def test_two_pieces_of_a_value_are_one_object_unless_components_are(tmp_path: Path, components):
    labels = np.zeros((SIDE, SIDE), np.uint16)
    labels[2:5, 2:5] = labels[40:44, 50:55] = 300
    labels[10, 10] = 7
    found = masks_of(folder(tmp_path, labels), components=components)
    if components:
        assert sorted((number, int(mask.sum())) for (_, number), mask in found.items()) == [
            (0, 1),
            (1, 9),
            (2, 20),
        ]
    else:
        assert {number: int(mask.sum()) for (_, number), mask in found.items()} == {300: 29, 7: 1}


@pytest.mark.parametrize("components", [False, True])
def test_slices_of_volumes_have_instances_too(tmp_path: Path, components):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    rng = np.random.default_rng(1)
    labels = np.stack([cells(150), cells(399) * 7, np.zeros((SIDE, SIDE), np.int64)], axis=2)
    affine = np.diag([1.0, 1, 5, 1])
    image = rng.integers(0, 999, labels.shape).astype(np.int16)
    nib.save(nib.Nifti1Image(image, affine), tmp_path / "images" / "v.nii.gz")
    nib.save(nib.Nifti1Image(labels.astype(np.float32), affine), tmp_path / "masks" / "v.nii.gz")
    found = list(MaskFolder(instance_label="cell", components=components).records(tmp_path))
    samples = [item for item in found if isinstance(item, RawSample)]
    assert [len(sample.masks) for sample in samples] == [150, 399]
    for sample, plane in zip(samples, (labels[..., 0], labels[..., 1]), strict=True):
        seen = plane.T[::-1, ::-1]
        expected = {(seen == value).tobytes() for value in np.unique(plane[plane > 0])}
        assert {resolve_mask(mask.mask, "").tobytes() for mask in sample.masks} == expected
        numbers = {mask.instance for mask in sample.masks}
        assert numbers == (set(range(len(expected))) if components else set(np.unique(plane)) - {0})


def test_what_is_no_instance_map_is_listed(tmp_path: Path, convert):
    side = 1100
    noise = np.random.default_rng(0).permutation(side**2).reshape(side, side) // 2 % 60_000 + 1
    folder(tmp_path, noise.astype(np.uint16), "noise.tif")
    folder(tmp_path, (cells(9) - 1).astype(np.int32), "below.tif")
    folder(tmp_path, cells(9) + 0.5, "half.tif")
    folder(tmp_path, cells(9).astype(np.uint8), "good.tif")
    converted = convert(MaskFolder, tmp_path, instance_label="cell", test_fraction=1)
    assert {key: len(masks) for key, masks in converted.masks.items()} == {"good": 9}
    reasons = {
        Path(line["path"]).stem: line["reason"]
        for line in converted.skipped
        if line["kind"] == "not a label map"
    }
    assert f"(limit {MAX_EXTENT})" in reasons["noise"]
    assert "not an instance map: its 60000 values lie scattered" in reasons["noise"]
    assert "which is below 0" in reasons["below"]
    assert "labels are whole numbers" in reasons["half"]


@pytest.mark.parametrize("other", [{"label_names": {1: "a"}}, {"mask_threshold": 0.5}])
def test_values_have_one_meaning(other: dict[str, Any]):
    with pytest.raises(ValueError, match=f"give no {next(iter(other))}"):
        MaskFolder(instance_label="cell", **other)


def test_a_table_of_instances_is_not_one_of_classes():
    assert MaskFolder.settings_before["instance_label"] is None
    assert MaskFolder(instance_label="cell").table_settings()["instance_label"] == "cell"


AUGMENTATION = [{"name": "Affine", "translate_percent": [0.1, 0.2], "p": 1.0}]


@pytest.mark.parametrize(("augmentation", "most"), [([], 2), (AUGMENTATION, 128)])
def test_a_training_sample_decodes_few_of_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, augmentation, most
):
    labels = cells(400).repeat(4, 0).repeat(4, 1)
    folder(tmp_path, labels.astype(np.uint16), split="train")
    datamodule = MaskFolder(
        str(tmp_path), str(tmp_path / "t.lance"), instance_label="cell", image_size=SIDE,
        batch_size=1, num_workers=0, masks_per_image=2, augmentation=augmentation,
        val_fraction=0,
    )  # fmt: skip
    report = datamodule.prepare(WorkOptions(workers=1))
    assert (report.masks, report.num_skipped) == (400, 0)
    decoded: list[int] = []
    plain = rows.decode_mask
    monkeypatch.setattr(rows, "decode_mask", lambda *given: decoded.append(1) or plain(*given))
    datamodule.setup("fit")
    sample = datamodule.train_dataloader().dataset[TrainingKey(0, 0)]
    assert 0 < len(decoded) <= most
    assert [mask.any() for mask in sample.masks] == [True, True]
    assert all(1 <= info.mask_id + 1 <= 400 and info.label == "cell" for info in sample.objects)
