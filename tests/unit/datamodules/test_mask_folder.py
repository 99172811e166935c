from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from syncsam_datamodules.mask_folder import MaskFolder

from syncsam_lightning.data.readers import resolve_image, resolve_mask
from syncsam_lightning.errors import LOST, BrokenInputError, DatasetNotFoundError
from syncsam_lightning.records import RawSample, Skipped

LABELS = np.zeros((5, 8), dtype=np.uint8)
LABELS[0, :3] = 1
LABELS[4, 7] = 2


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "Wounds"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    return folder


def image(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 5), (10, 20, 30)).save(path)
    return path


def mask(path: Path, labels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels).save(path)
    return path


def records(root: Path, **options: Any) -> tuple[list[RawSample], list[Skipped]]:
    found = list(MaskFolder(**options).records(root))
    samples = [item for item in found if isinstance(item, RawSample)]
    return samples, [item for item in found if isinstance(item, Skipped)]


def drawn(sample: RawSample) -> dict[tuple[str, int], np.ndarray]:
    return {(m.label, m.instance): resolve_mask(m.mask, m.path) for m in sample.masks}


@pytest.mark.parametrize("linked", ["files", "folders"])
def test_links_of_ones_own_are_followed_wherever_they_lead(root: Path, linked: str):
    # Those of a release are not, see test_samed2d.py.
    elsewhere = root.parent / "elsewhere"
    image(elsewhere / "images" / "a.png")
    mask(elsewhere / "masks" / "a.png", LABELS)
    mask(elsewhere / "masks" / "a" / "spot.png", LABELS // 2)
    names = ["images/a.png", "masks/a.png", "masks/a/spot.png"]
    if linked == "folders":
        (root / "images").rmdir()
        names = ["images", "masks/a", "masks/a.png"]
    for name in names:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).symlink_to(elsewhere / name)
    (sample,), skipped = records(root)
    assert skipped == []
    assert resolve_image(sample.image, sample.path).shape == (5, 8, 3)
    found = drawn(sample)
    assert sorted(label for label, _ in found) == ["class_1", "class_2", "spot"]
    np.testing.assert_array_equal(found["spot", 0], LABELS == 2)


def test_an_image_carries_what_the_options_and_names_say(root: Path):
    image(root / "images" / "p1_a.png")
    mask(root / "masks" / "p1_a.png", LABELS)
    (sample,), skipped = records(root, modality="wound photograph")
    assert skipped == []
    assert (sample.id, sample.case, sample.slice, sample.split) == ("p1_a", "p1_a", "", None)
    assert (sample.modality, sample.source) == ("wound photograph", "Wounds")
    (named,), _ = records(root, source="Chronic wounds", case_pattern="^p[0-9]+")
    assert (named.source, named.case) == ("Chronic wounds", "p1")


@pytest.mark.parametrize(
    "suffix", [".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".jp2", ".PNG"]
)
def test_every_format_is_read(root: Path, suffix: str):
    image(root / "images" / f"a{suffix}")
    mask(root / "masks" / "a.tif", LABELS)
    (sample,), _ = records(root)
    assert resolve_image(sample.image, "").shape == (5, 8, 3)
    assert len(sample.masks) == 2


def test_a_label_map_gives_a_mask_for_each_value(root: Path):
    image(root / "images" / "a.png")
    mask(root / "masks" / "a.png", LABELS)
    (sample,), _ = records(root, label_names={2: "burn"})
    masks = drawn(sample)
    assert set(masks) == {("class_1", 0), ("burn", 0)}
    np.testing.assert_array_equal(masks["class_1", 0], LABELS == 1)
    np.testing.assert_array_equal(masks["burn", 0], LABELS == 2)


@pytest.mark.parametrize(
    ("value", "names", "label"),
    [(255, {}, "object"), (1, {}, "class_1"), (38, {38: "ulcer"}, "ulcer"), (255, {255: "x"}, "x")],
)
def test_a_binary_mask_may_have_any_value(
    root: Path, value: int, names: dict[int, str], label: str
):
    image(root / "images" / "a.png")
    mask(root / "masks" / "a.png", (LABELS > 0).astype(np.uint8) * np.uint8(value))
    (sample,), _ = records(root, label_names=names)
    ((key, found),) = drawn(sample).items()
    assert key == (label, 0)
    np.testing.assert_array_equal(found, LABELS > 0)


def test_a_label_map_of_16_bits_keeps_its_values(root: Path):
    image(root / "images" / "a.png")
    mask(root / "masks" / "a.png", np.where(LABELS == 1, 1000, 0).astype(np.uint16))
    (sample,), _ = records(root)
    assert [m.label for m in sample.masks] == ["class_1000"]


def test_a_palette_file_is_read_by_its_indices(root: Path):
    image(root / "images" / "a.png")
    palette = Image.fromarray(LABELS, mode="P")
    palette.putpalette([0, 0, 0, 200, 0, 0, 200, 0, 1])
    palette.save(root / "masks" / "a.png")
    (sample,), _ = records(root)
    assert set(drawn(sample)) == {("class_1", 0), ("class_2", 0)}


@pytest.mark.parametrize("name", ["a.png", "a--cut.png"])
def test_a_mask_that_codes_classes_as_colours_is_refused(root: Path, name: str):
    image(root / "images" / "a.png")
    colours = np.zeros((5, 8, 3), dtype=np.uint8)
    colours[0, 0] = 0, 255, 0
    path = mask(root / "masks" / name, colours)
    samples, skipped = records(root)
    reason = "is a colour image: a mask is grey or has a palette"
    if name == "a.png":
        assert skipped == [Skipped(str(path), reason, "colours")]
    else:
        with pytest.raises(BrokenInputError, match=reason):
            resolve_mask(samples[0].masks[0].mask, "")


def test_a_grey_mask_may_be_stored_with_three_channels(root: Path):
    image(root / "images" / "a.png")
    mask(root / "masks" / "a.png", np.repeat(LABELS[..., None], 3, axis=2))
    (sample,), _ = records(root)
    assert set(drawn(sample)) == {("class_1", 0), ("class_2", 0)}


def test_the_three_forms_of_mask_names_may_be_mixed(root: Path):
    image(root / "images" / "a.png")
    one = (LABELS == 1).astype(np.uint8) * np.uint8(38)
    mask(root / "masks" / "a.png", LABELS)
    mask(root / "masks" / "a" / "cut.png", one)
    mask(root / "masks" / "a" / "cut--2.png", one)
    mask(root / "masks" / "a--deep burn.png", one)
    mask(root / "masks" / "a--deep burn--7.png", one)
    (sample,), skipped = records(root)
    assert skipped == []
    masks = drawn(sample)
    assert sorted(masks) == [
        ("class_1", 0),
        ("class_2", 0),
        ("cut", 0),
        ("cut", 2),
        ("deep burn", 0),
        ("deep burn", 7),
    ]
    for key in (("cut", 2), ("deep burn", 0)):
        np.testing.assert_array_equal(masks[key], LABELS == 1)


def test_an_image_name_may_hold_dashes_and_numbers(root: Path):
    for name in ("a", "a--3", "a--b--4"):
        image(root / "images" / f"{name}.png")
        mask(root / "masks" / f"{name}--cut.png", LABELS // 2)
    samples, skipped = records(root)
    assert skipped == []
    assert {s.id: [m.path for m in s.masks] for s in samples} == {
        name: [str(root / "masks" / f"{name}--cut.png")] for name in ("a", "a--3", "a--b--4")
    }


def test_a_file_for_one_object_with_two_values_is_named(root: Path):
    image(root / "images" / "a.png")
    path = mask(root / "masks" / "a--cut.png", LABELS)
    (sample,), _ = records(root)
    with pytest.raises(BrokenInputError, match=r"one object, but it has the values \[1, 2\]") as e:
        resolve_mask(sample.masks[0].mask, "")
    assert e.value.path == str(path)


def test_train_val_and_test_folders_are_the_split(tmp_path: Path):
    for split in ("train", "val", "test"):
        image(tmp_path / split / "images" / "a.png")
        mask(tmp_path / split / "masks" / "a.png", LABELS)
    samples, skipped = records(tmp_path)
    assert skipped == []
    assert [(s.split, s.id) for s in samples] == [
        ("train", "train/a"),
        ("val", "val/a"),
        ("test", "test/a"),
    ]


@pytest.mark.parametrize(
    ("pattern", "case"), [("([a-z]+)_", "knee"), ("[0-9]+", "12"), ("(?P<case>.)", "k")]
)
def test_the_case_is_the_first_group_or_all_that_matches(root: Path, pattern: str, case: str):
    image(root / "images" / "knee_12_5.png")
    mask(root / "masks" / "knee_12_5.png", LABELS)
    (sample,), _ = records(root, case_pattern=pattern)
    assert sample.case == case


def test_a_name_that_the_case_pattern_misses_is_skipped(root: Path):
    path = image(root / "images" / "a.png")
    mask(root / "masks" / "a.png", LABELS)
    assert records(root, case_pattern="^p[0-9]") == (
        [],
        [Skipped(str(path), "case_pattern '^p[0-9]' does not match its name")],
    )


def test_a_wrong_case_pattern_is_refused():
    with pytest.raises(ValueError, match=r"case_pattern '\(' is no regular expression: "):
        MaskFolder(case_pattern="(")


def test_an_image_without_a_mask_and_a_mask_without_an_image_are_skipped(root: Path):
    alone = image(root / "images" / "alone.png")
    orphans = [
        mask(root / "masks" / "orphan.png", LABELS),
        mask(root / "masks" / "orphan" / "cut.png", LABELS),
        mask(root / "masks" / "orphan--cut--1.png", LABELS),
    ]
    samples, skipped = records(root)
    assert samples == []
    assert {(skip.path, skip.reason) for skip in skipped} == {
        (str(alone), "no file in the folder masks has its name"),
        *((str(path), "no file in the folder images has its name") for path in orphans),
    }


def test_a_second_image_of_a_name_is_skipped(root: Path):
    image(root / "images" / "a.bmp")
    second = image(root / "images" / "a.png")
    mask(root / "masks" / "a.png", LABELS)
    samples, skipped = records(root)
    assert len(samples) == 1
    assert skipped == [Skipped(str(second), "has the same name as a.bmp, which is used")]


def test_files_that_are_no_images_are_skipped_and_hidden_ones_ignored(root: Path):
    image(root / "images" / "a.png")
    mask(root / "masks" / "a.png", LABELS)
    notes = root / "images" / "notes.txt"
    for path in (notes, root / "images" / ".DS_Store", root / "masks" / ".DS_Store"):
        path.write_text("")
    _, (skipped,) = records(root)
    assert skipped.path == str(notes)
    assert skipped.reason.startswith(".txt is not of .png")


def test_a_lossy_mask_is_refused(root: Path):
    image(root / "images" / "a.jpg")
    path = image(root / "masks" / "a.jpg")
    _, (lossy, left) = records(root)
    assert lossy.path == str(path)
    assert lossy.reason == (
        "a mask of a.jpg must be one of .png .tif .tiff .bmp; JPEG blurs its values: set "
        "mask_threshold to read it, for example to 128"
    )
    assert left.path == str(root / "images" / "a.jpg")


@pytest.mark.parametrize("name", ["a--cut--two.png", "a--.png", "a/cut--x.png", "a/--2.png"])
def test_a_malformed_mask_name_is_skipped(root: Path, name: str):
    image(root / "images" / "a.png")
    path = root / "masks" / name
    mask(root / "mask.png", LABELS)
    path.parent.mkdir(exist_ok=True)
    (root / "mask.png").rename(path)
    _, skipped = records(root)
    assert str(path) in {skip.path for skip in skipped}


def test_a_photograph_in_place_of_a_label_map_is_refused(root: Path):
    image(root / "images" / "a.png")
    path = mask(root / "masks" / "a.png", np.arange(200, dtype=np.uint8).reshape(10, 20))
    (sample,), (skipped,) = records(root)
    assert sample.masks == ()
    assert skipped.path == str(path)
    assert skipped.reason.startswith("looks like a mask with soft edges: of its 199 values")


def test_a_damaged_label_map_counts_as_lost_and_one_of_no_labels_does_not(root: Path):
    for name in ("cut", "photo"):
        image(root / "images" / f"{name}.png")
    path = mask(root / "masks" / "cut.png", LABELS)
    path.write_bytes(path.read_bytes()[:40])
    mask(root / "masks" / "photo.png", np.arange(200, dtype=np.uint8).reshape(10, 20))
    _, skipped = records(root)
    assert [skip.kind in LOST for skip in skipped] == [True, False]


def test_damaged_files_are_listed_by_the_conversion(root: Path, tmp_path: Path):
    for name in ("good", "cut", "empty", "shape"):
        image(root / "images" / f"{name}.png")
        mask(root / "masks" / f"{name}.png", LABELS)
    for folder in ("images", "masks"):
        path = root / folder / "cut.png"
        path.write_bytes(path.read_bytes()[:40])
    mask(root / "masks" / "empty.png", LABELS * 0)
    mask(root / "masks" / "shape.png", LABELS.T.copy())
    datamodule = MaskFolder(str(root), str(tmp_path / "t.lance"), test_fraction=0)
    datamodule.prepare_data()
    lines = (tmp_path / "t.skipped.jsonl").read_text().splitlines()
    named = {Path(json.loads(line)["path"]).relative_to(root).as_posix() for line in lines}
    assert {"masks/cut.png", "images/cut.png", "images/empty.png"} <= named
    assert {"masks/shape.png[1]", "masks/shape.png[2]"} <= named
    assert sum(datamodule.table.offsets(split).size for split in ("train", "val", "test")) == 1


def test_a_folder_of_another_layout_is_told(tmp_path: Path, root: Path):
    with pytest.raises(DatasetNotFoundError, match="expected the folders images and masks"):
        records(tmp_path)
    (root / "masks").rmdir()
    with pytest.raises(DatasetNotFoundError, match="a folder images but no folder masks"):
        records(root)


def test_images_in_folders_of_patients_are_told(root: Path):
    image(root / "images" / "p1" / "a.png")
    (skipped,) = records(root)[1]
    assert skipped.path == str(root / "images" / "p1")
    assert "is a folder without DICOM files" in skipped.reason
    assert "case_pattern" in skipped.reason


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("scan_1_mask.png", "; if it is of scan_1.png, call it scan_1.png, or scan_1--LABEL.png"),
        ("scan_1.seg.TIF", "; if it is of scan_1.png, call it scan_1.tif, or scan_1--LABEL.tif"),
        ("scan_12.png", ""),
    ],
)
def test_a_mask_of_nearly_the_name_of_an_image_gets_the_right_one(root: Path, name: str, hint: str):
    image(root / "images" / "scan_1.png")
    (root / "masks" / name).touch()
    skipped, _ = records(root)[1]
    reason = "no file in the folder images has its name"
    assert skipped.reason == reason + (hint and f"{hint} if it holds one object")
