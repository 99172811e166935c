"""How MaskFolder cuts volumes: one rule with `syncsam predict`, read where rows are made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from syncsam_datamodules.mask_folder import MaskFolder

from syncsam_lightning.data.conversion import WorkOptions
from syncsam_lightning.data.readers import resolve_image, resolve_mask
from syncsam_lightning.errors import TableError
from syncsam_lightning.records import RawSample, Skipped
from syncsam_lightning.volumes import coarsest_plane, stack_of
from syncsam_lightning.volumes.nifti import read_nifti
from syncsam_lightning.volumes.windows import UnknownWindowError, parse_window

VOXELS = np.arange(60, dtype=np.int16).reshape(4, 5, 3)
LABELS = np.zeros((4, 5, 3), dtype=np.uint8)
LABELS[3, 4, 0] = 1
LABELS[0, :, 2] = 2


def save(path: Path, voxels: np.ndarray, affine: Any = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([1.0, 1, 3, 1]) if affine is None else affine
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def records(root: Path, **options: Any) -> tuple[list[RawSample], list[Skipped]]:
    found = list(MaskFolder(**options).records(root))
    samples = [item for item in found if isinstance(item, RawSample)]
    return samples, [item for item in found if isinstance(item, Skipped)]


def pixels(sample: RawSample) -> np.ndarray:
    return resolve_image(sample.image, sample.path)[..., 0]


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("spacing", [(1.0, 1, 1), (0.4, 2.2, 1), (5.0, 0.1, 0.3)])
def test_a_volume_of_one_slice_is_one_image(tmp_path: Path, axis: int, spacing: tuple[float, ...]):
    # With np.eye(4), as 2D images are often saved, or pixels that are no squares.
    plane = np.random.default_rng(0).integers(0, 999, (64, 48)).astype(np.int16)
    path = save(tmp_path / "images" / "p1.nii", np.expand_dims(plane, axis), np.diag([*spacing, 1]))
    labels = np.expand_dims((plane > 500).astype(np.uint8), axis)
    save(tmp_path / "masks" / "p1.nii", labels, np.diag([*spacing, 1]))
    (sample,), skipped = records(tmp_path)
    assert skipped == []
    assert sample.id == "p1/0000"
    # As predict cuts it.
    volume = read_nifti(path)
    (seen,) = stack_of(volume, coarsest_plane(volume))
    assert pixels(sample).shape == seen.shape
    assert sorted(seen.shape) == [48, 64]
    drawn = resolve_mask(sample.masks[0].mask, "")
    np.testing.assert_array_equal(drawn, seen > 500)


def test_two_axes_are_one_image(tmp_path: Path):
    save(tmp_path / "images" / "p1.nii.gz", VOXELS[:, :, 0], np.eye(4))
    save(tmp_path / "masks" / "p1.nii.gz", LABELS[:, :, 0], np.eye(4))
    (sample,), skipped = records(tmp_path)
    assert (skipped, pixels(sample).shape) == ([], (5, 4))


@pytest.mark.parametrize("spacing", [(3, 1, 1), (1, 3, 1), (1, 1, 3), (1, 1, 1)])
@pytest.mark.parametrize("codes", ["RAS", "PIR", "LSA"])
def test_slices_are_those_of_predict(tmp_path: Path, spacing: tuple[float, ...], codes: str):
    affine = np.diag([*spacing, 1.0])
    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes)
    )
    for folder, voxels in (("images", VOXELS), ("masks", np.ones_like(LABELS))):
        image = nib.Nifti1Image(voxels, affine).as_reoriented(turn)
        save(tmp_path / folder / "p1.nii", np.asanyarray(image.dataobj), image.affine)
    samples, _ = records(tmp_path, window="minmax")
    volume = read_nifti(tmp_path / "images" / "p1.nii")
    stack = stack_of(volume, coarsest_plane(volume))
    window = parse_window("minmax").fitted(stack)
    assert len(samples) == len(stack)
    for sample, plane in zip(samples, stack, strict=True):
        np.testing.assert_array_equal(pixels(sample), window.grey(plane))


def test_nan_of_an_image_is_background_as_in_predict(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    voxels = VOXELS.astype(np.float32)
    voxels[0, 0] = np.nan
    path = save(tmp_path / "images" / "p1.nii", voxels)
    save(tmp_path / "masks" / "p1.nii", LABELS)
    (bottom, _), _ = records(tmp_path, window="minmax")
    known = np.where(np.isnan(voxels), np.nanmin(voxels), voxels)
    np.testing.assert_array_equal(read_nifti(path).voxels, known)
    assert pixels(bottom)[-1, -1] == 0
    assert "p1.nii: 3 of its 60 voxels hold NaN" in caplog.text


def hounsfield(root: Path) -> None:
    voxels = np.full((8, 8, 2), 40, np.int16)
    voxels[2:4, 2:4] = 60  # a lesion
    voxels[0, 0] = 3000  # beside metal
    voxels[7, 7] = -1000
    labels = np.zeros((8, 8, 2), np.uint8)
    labels[2:4, 2:4] = 1
    save(root / "images" / "p1.nii", voxels)
    save(root / "masks" / "p1.nii", labels)


@pytest.mark.parametrize(
    ("window", "contrast"), [("percentiles", 1), ("soft_tissue", 13), ("brain", 63), ("100,50", 51)]
)
def test_the_window_is_one_of_predict(tmp_path: Path, window: str, contrast: int):
    hounsfield(tmp_path)
    (sample, _), _ = records(tmp_path, window=window)
    inside = resolve_mask(sample.masks[0].mask, "")
    grey = pixels(sample).astype(int)
    assert grey[inside].max() - grey[0, 3] == pytest.approx(contrast, abs=1)


def test_an_unknown_window_is_refused_at_once():
    with pytest.raises(UnknownWindowError, match="'soft' is none of percentiles"):
        MaskFolder(window="soft")


def test_the_table_remembers_window_and_components(tmp_path: Path):
    settings = MaskFolder(window="lung", components=True).table_settings()
    assert (settings["window"], settings["components"]) == ("lung", True)


@pytest.mark.parametrize("option", [{"window": "lung"}, {"components": True}])
def test_a_table_without_these_options_is_one_of_their_defaults(
    tmp_path: Path, option: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    save(tmp_path / "images" / "p1.nii", VOXELS)
    save(tmp_path / "masks" / "p1.nii", LABELS)
    settings = MaskFolder().table_settings()
    with monkeypatch.context() as earlier:
        earlier.setattr(
            MaskFolder,
            "table_settings",
            lambda self: {key: settings[key] for key in settings.keys() - {"window", "components"}},
        )
        MaskFolder(str(tmp_path), str(tmp_path / "t.lance")).prepare_data()
    MaskFolder(str(tmp_path), str(tmp_path / "t.lance")).load_rows()
    with pytest.raises(TableError, match=f"was prepared with {next(iter(option))}="):
        MaskFolder(str(tmp_path), str(tmp_path / "t.lance"), **option).load_rows()


def scattered() -> np.ndarray:
    labels = np.zeros((8, 8), np.uint8)
    labels[0, :2] = labels[3:5, 3:5] = labels[7, 7] = 1
    labels[0, 7] = 2
    return labels


def test_components_of_a_picture_are_objects(tmp_path: Path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "a.png")
    Image.fromarray(scattered()).save(tmp_path / "masks" / "a.png")
    (whole,), _ = records(tmp_path)
    (split,), skipped = records(tmp_path, components=True)
    assert [(mask.label, mask.instance) for mask in whole.masks] == [("class_1", 0), ("class_2", 0)]
    found = {(m.label, m.instance): resolve_mask(m.mask, m.path) for m in split.masks}
    assert {key: int(mask.sum()) for key, mask in found.items()} == {
        ("class_1", 0): 2,
        ("class_1", 1): 4,
        ("class_1", 2): 1,
        ("class_2", 0): 1,
    }
    np.testing.assert_array_equal(sum(found.values()), scattered() > 0)
    assert skipped == []


def test_components_of_a_volume_are_objects(tmp_path: Path):
    save(tmp_path / "images" / "p1.nii", np.zeros((8, 8, 1), np.int16))
    save(tmp_path / "masks" / "p1" / "cell.nii", (scattered() == 1).astype(np.uint8)[..., None])
    save(tmp_path / "masks" / "p1" / "cell--2.nii", (scattered() == 2).astype(np.uint8)[..., None])
    (whole,), _ = records(tmp_path)
    (split,), _ = records(tmp_path, components=True)
    assert sorted((mask.label, mask.instance) for mask in whole.masks) == [("cell", 0), ("cell", 2)]
    assert [(mask.label, mask.instance) for mask in split.masks] == [("cell", n) for n in range(4)]
    assert sorted(int(resolve_mask(mask.mask, "").sum()) for mask in split.masks) == [1, 1, 2, 4]


def test_masks_that_cannot_be_split_are_listed_all_the_same(tmp_path: Path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name in ("cut", "empty", "good"):
        Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(
            tmp_path / "images" / f"{name}.png"
        )
        path = tmp_path / "masks" / f"{name}--x.png"
        Image.fromarray(scattered() * (name != "empty") // 2).save(path)
    cut = tmp_path / "masks" / "cut--x.png"
    cut.write_bytes(cut.read_bytes()[:40])
    folder = MaskFolder(str(tmp_path), str(tmp_path / "t.lance"), components=True)
    folder.prepare_data()
    lines = [json.loads(line) for line in (tmp_path / "t.skipped.jsonl").read_text().splitlines()]
    assert {"cut--x.png", "empty--x.png"} <= {Path(line["path"]).name for line in lines}
    assert sum(folder.table.offsets(split).size for split in ("train", "val", "test")) == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_volumes_are_read_by_the_workers_of_a_conversion(
    tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
):
    for number in range(3):
        save(tmp_path / "images" / f"p{number}.nii.gz", VOXELS)
        save(tmp_path / "masks" / f"p{number}.nii.gz", LABELS)
    bad = save(tmp_path / "masks" / "p2.nii.gz", LABELS[:2])
    reads: list[str] = []
    from syncsam_lightning.volumes import reading

    plain = reading.read_stored

    def counted(path: str, *rest: Any, **options: Any) -> Any:
        reads.append(Path(path).name)
        return plain(path, *rest, **options)

    monkeypatch.setattr(reading, "read_stored", counted)
    folder = MaskFolder(str(tmp_path), str(tmp_path / "t.lance"), test_fraction=0)
    folder.prepare(WorkOptions(workers=workers, unit_size=2, progress=False))
    assert sum(folder.table.offsets(split).size for split in ("train", "val", "test")) == 4
    # Images once; labels to see which slices they are on, and for the rows.
    assert len(reads) == (0 if workers > 1 else 2 + 3 + 2)
    lines = [json.loads(line) for line in (tmp_path / "t.skipped.jsonl").read_text().splitlines()]
    assert [(line["path"], line["kind"]) for line in lines] == [
        (str(tmp_path / "images" / "p0.nii.gz"), "slice without object"),
        (str(tmp_path / "images" / "p1.nii.gz"), "slice without object"),
        (str(bad), "shape mismatch"),
    ]


def test_a_case_of_many_files_keeps_only_what_is_labelled(tmp_path: Path):
    from syncsam_lightning.data.label_volumes import LabelStack

    stack = np.zeros((30, 200, 200), np.uint8)
    stack[10:12, 50:60, 70:75] = 3
    kept = LabelStack.of(stack)
    assert kept.box.shape == (2, 10, 5)
    assert list(kept.labelled) == [10, 11]
    for position in (0, 9, 10, 11, 12, 29):
        np.testing.assert_array_equal(kept[position], stack[position])
    assert not LabelStack.of(stack * 0)[3].any()
    assert list(LabelStack.of(stack * 0).labelled) == []


@pytest.mark.parametrize(("shift", "fits"), [(0.02, True), (0.3, True), (0.8, False)])
def test_a_place_is_compared_in_voxels(tmp_path: Path, shift: float, fits: bool):
    affine = np.diag([1.5, 1.5, 1.5, 1])
    save(tmp_path / "images" / "p1.nii", VOXELS, affine)
    affine[0, 3] += shift
    save(tmp_path / "masks" / "p1.nii", LABELS, affine)
    samples, skipped = records(tmp_path)
    assert len(samples) == (2 if fits else 0)
    assert [skip.kind for skip in skipped] == ["slice without object" if fits else "place mismatch"]


def test_a_label_that_is_no_text_is_listed(tmp_path: Path):
    save(tmp_path / "images" / "p1.nii", VOXELS)
    save(tmp_path / "masks" / "p1--a.nii", LABELS // 2)
    (tmp_path / "masks" / "p1--a.nii").rename(tmp_path / "masks" / "p1--\udce4.nii")
    samples, (skipped, _) = records(tmp_path)
    assert samples == []
    assert skipped.reason == "its name is not UTF-8"
