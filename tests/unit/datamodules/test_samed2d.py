from __future__ import annotations

import json
import logging
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from syncsam_datamodules import samed2d
from syncsam_datamodules.samed2d import SAMed2D

from syncsam_lightning.data.conversion import WorkOptions
from syncsam_lightning.data.readers import resolve_image, resolve_mask
from syncsam_lightning.errors import BrokenInputError, ConversionError, DatasetNotFoundError
from syncsam_lightning.records import RawSample, Skipped

SHARED = Path(__file__).parents[4] / "shared" / "data" / "samed2d"
NAME = "mr_t1--BraTS--case-7--x_0040"
CLASSES = {"BraTS": {"tumour": 0, "oedema": 12}}


class Release:
    """A release with one image of 6x9 pixels and two masks, to be damaged by a test."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "SAMed2Dv1"
        self.index: dict[str, list[str]] = {}
        for folder in ("images", "masks"):
            (self.folder / folder).mkdir(parents=True)
        self.add(NAME, "0000_000", "0012_003")
        self.write_classes(json.dumps(CLASSES))

    def add(self, name: str, *objects: str) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
        Image.fromarray(noise).save(self.folder / "images" / f"{name}.png")
        for suffix in objects:
            mask = Image.new("L", (9, 6))
            mask.paste(255, (2, 1, 5, 4))
            mask.save(self.folder / "masks" / f"{name}--{suffix}.png")
        masks = [f"masks/{name}--{suffix}.png" for suffix in objects]
        self.index[f"images/{name}.png"] = masks

    def write_classes(self, text: str) -> None:
        (self.folder / samed2d.CLASSES).write_text(text)

    def write_index(self, text: str | None = None) -> None:
        (self.folder / samed2d.INDEX).write_text(json.dumps(self.index) if text is None else text)

    def records(self, root: Path | None = None) -> tuple[list[RawSample], list[Skipped]]:
        if not (self.folder / samed2d.INDEX).exists():
            self.write_index()
        found = list(SAMed2D().records(root or self.root))
        samples = [item for item in found if isinstance(item, RawSample)]
        return samples, [item for item in found if isinstance(item, Skipped)]


def missing(path: Path) -> Skipped:
    reason = "SAMed2D_v1.json names it, but there is no such file"
    return Skipped(str(path), reason, "named by the index, missing", "BraTS")


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return Release(tmp_path)


def test_an_image_carries_what_its_name_says(release: Release):
    (sample,), skipped = release.records()
    assert skipped == []
    assert (sample.id, sample.modality, sample.source) == (NAME, "mr", "BraTS")
    assert (sample.case, sample.slice, sample.split) == ("case-7", "x_0040", None)
    assert [(mask.label, mask.instance) for mask in sample.masks] == [("tumour", 0), ("oedema", 3)]
    assert resolve_image(sample.image, "").shape == (6, 9, 3)
    assert resolve_mask(sample.masks[0].mask, "").sum() == 9


def test_the_root_may_be_the_release_folder_itself(release: Release):
    for root in (release.folder, release.root):
        (sample,), _ = release.records(root)
        assert (sample.id, sample.path) == (NAME, str(release.folder / "images" / f"{NAME}.png"))


@pytest.mark.parametrize(
    ("token", "modality"),
    [
        ("ct_00", "ct"),
        ("mr_mprage", "mr"),
        ("pet_00", "pet"),
        ("dermoscopy_00", "dermoscopy"),
        ("endoscopy_00", "endoscopy"),
        ("ultrasound_00", "ultrasound"),
        ("fundus_photography", "fundus_photography"),
        ("x_ray", "x_ray"),
    ],
)
def test_a_modality_is_named_without_its_sub_modality(release: Release, token: str, modality: str):
    release.index = {}
    release.add(f"{token}--KiTS2021--a_b--2d_none", "0000_000")
    (sample,), _ = release.records()
    assert (sample.modality, sample.source) == (modality, "KiTS2021")
    assert (sample.case, sample.slice) == ("a_b", "2d_none")


def test_a_class_that_the_mapping_lacks_is_labelled_by_its_number_and_told_once(
    release: Release, caplog: pytest.LogCaptureFixture
):
    release.add("ct_00--BraTS--a--z_1", "0003_000", "0003_001")
    with caplog.at_level(logging.WARNING):
        samples, skipped = release.records()
    assert [mask.label for mask in samples[1].masks] == ["class_0003", "class_0003"]
    assert skipped == []
    assert [record.getMessage() for record in caplog.records] == [
        "SAMed2D_v1_class_mapping_id.json names no class 3 of BraTS; using its number"
    ]


def test_an_image_without_masks_is_handed_over_without_masks(release: Release):
    release.add("ct_00--BraTS--a--z_1")
    samples, skipped = release.records()
    assert [len(sample.masks) for sample in samples] == [2, 0]
    assert skipped == []


def test_a_listed_image_without_a_file_is_skipped_with_its_path(release: Release):
    path = release.folder / "images" / f"{NAME}.png"
    path.unlink()
    assert release.records() == (
        [],
        [missing(path)],
    )


def test_a_listed_mask_without_a_file_is_skipped_and_the_others_stay(release: Release):
    path = release.folder / "masks" / f"{NAME}--0000_000.png"
    path.unlink()
    (sample,), skipped = release.records()
    assert [mask.label for mask in sample.masks] == ["oedema"]
    assert skipped == [missing(path)]


@pytest.mark.parametrize("folder", ["images", "masks"])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_links_that_leave_the_release_are_listed_and_never_read(
    release: Release, folder: str, kind: str
):
    name = NAME if folder == "images" else f"{NAME}--0000_000"
    path = release.folder / folder / f"{name}.png"
    moved = path if kind == "file" else path.parent
    moved.rename(release.root / "outside")
    moved.symlink_to(release.root / "outside")
    samples, skipped = release.records()
    assert str(path) in {skip.path for skip in skipped}
    assert {skip.reason for skip in skipped} == {"it is a link that leaves the release"}
    assert [len(sample.masks) for sample in samples] == {
        ("images", "file"): [],
        ("images", "folder"): [],
        ("masks", "file"): [1],
        ("masks", "folder"): [0],
    }[folder, kind]


def test_a_file_that_becomes_a_link_after_it_was_looked_up_is_refused(release: Release):
    (sample,), _ = release.records()
    for loaded, path in ((sample.image, sample.path), *((m.mask, m.path) for m in sample.masks)):
        Path(path).rename(release.root / "outside.png")
        Path(path).symlink_to(release.root / "outside.png")
        with pytest.raises(BrokenInputError, match="link that leaves the release") as error:
            resolve_image(loaded, path) if path == sample.path else resolve_mask(loaded, path)
        assert error.value.path == path


@pytest.mark.parametrize("name", [samed2d.INDEX, samed2d.CLASSES])
def test_an_index_that_is_a_link_out_of_the_release_is_refused(release: Release, name: str):
    release.write_index()
    (release.folder / name).rename(release.root / name)
    (release.folder / name).symlink_to(release.root / name)
    with pytest.raises(BrokenInputError, match=rf"{name}: it is a link that leaves the release"):
        release.records(release.folder)


def test_links_within_the_release_are_read(release: Release):
    (release.folder / "images").rename(release.folder / "pictures")
    (release.folder / "images").symlink_to("pictures")
    (sample,), skipped = release.records()
    assert (resolve_image(sample.image, "").shape, skipped) == ((6, 9, 3), [])


@pytest.mark.parametrize(
    "name",
    [
        "amos_0004_75",
        "ct_00--AMOS--case",
        "ct_00--AMOS--case--z_1--more",
        "ct_00----case--z_1",
        "ct--AMOS--case--z_1",
        "ct_00--AMOS--case--w_1",
        "ct_00--AMOS--case--z_1a",
    ],
)
def test_an_image_with_a_malformed_name_is_skipped(release: Release, name: str):
    release.add(name, "0000_000")
    samples, (skipped,) = release.records()
    assert [sample.id for sample in samples] == [NAME]
    assert skipped.path == str(release.folder / "images" / f"{name}.png")
    assert skipped.reason == "its name is not MODALITY_SUB--DATASET--CASE--AXIS_SLICE.png"


@pytest.mark.parametrize("suffix", ["0_0", "0000", "0000_000_1", "aorta_000", "-0001_000"])
def test_a_mask_with_a_malformed_name_is_skipped(release: Release, suffix: str):
    release.index = {}
    release.add(NAME, "0012_003", suffix)
    (sample,), (skipped,) = release.records()
    assert [mask.label for mask in sample.masks] == ["oedema"]
    assert skipped.path == str(release.folder / "masks" / f"{NAME}--{suffix}.png")
    assert "not its image's name with --CLASS_INSTANCE" in skipped.reason


def test_a_mask_of_another_image_is_skipped(release: Release):
    other = "ct_00--BraTS--a--z_1"
    release.add(other, "0000_000")
    release.index[f"images/{NAME}.png"].append(f"masks/{other}--0000_000.png")
    samples, (skipped,) = release.records()
    assert [len(sample.masks) for sample in samples] == [2, 1]
    assert skipped.path.endswith(f"{other}--0000_000.png")


@pytest.mark.parametrize(
    "entry",
    [
        "../outside.png",
        "images/../../outside.png",
        "/etc/hosts.png",
        "images/sub/a.png",
        "masks/a.png",
        "images\\..\\outside.png",
        "images/..",
        "images/a.gif",
        "images/a\0.png",
    ],
)
def test_an_entry_that_leaves_the_image_folder_is_refused(release: Release, entry: str):
    Image.new("L", (9, 6)).save(release.root / "outside.png")
    release.index = {entry: []}
    samples, (skipped,) = release.records()
    assert samples == []
    assert (skipped.path, "images/NAME.png" in skipped.reason) == (entry, True)


def test_a_mask_entry_that_leaves_the_mask_folder_is_refused(release: Release):
    release.index[f"images/{NAME}.png"].append("masks/../../outside.png")
    (sample,), (skipped,) = release.records()
    assert len(sample.masks) == 2
    assert skipped.path == "masks/../../outside.png"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"images/a.png"',
        '{"images/a.png": ["masks/b',
        '{"images/a.png": 3}',
        '{"images/a.png": [3]}',
        '{"images/a.png": [],}',
        '{"images/a.png": []} more',
        '{"images/a.png" []}',
        "{3: []}",
    ],
)
def test_a_broken_index_is_named(release: Release, text: str):
    release.write_index(text)
    with pytest.raises(BrokenInputError, match=r"SAMed2D_v1\.json: not readable as JSON"):
        release.records()


def test_an_index_that_is_not_text_is_named(release: Release):
    (release.folder / samed2d.INDEX).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BrokenInputError, match=r"SAMed2D_v1\.json: not readable as JSON"):
        release.records()


@pytest.mark.parametrize("text", ["{", "[]", '{"BraTS": ["tumour"]}', '{"BraTS": {"tumour": "0"}}'])
def test_a_broken_class_mapping_is_named(release: Release, text: str):
    release.write_classes(text)
    with pytest.raises(BrokenInputError, match=r"SAMed2D_v1_class_mapping_id\.json: "):
        release.records()


def test_an_empty_index_holds_nothing(release: Release):
    release.write_index(" { } ")
    assert release.records() == ([], [])


def test_a_folder_without_a_release_says_what_is_missing(tmp_path: Path):
    with pytest.raises(DatasetNotFoundError, match=r"neither SAMed2Dv1/SAMed2D_v1\.json nor"):
        list(SAMed2D().records(tmp_path))


def test_a_missing_class_mapping_is_told(release: Release):
    (release.folder / samed2d.CLASSES).unlink()
    with pytest.raises(DatasetNotFoundError, match=r"no SAMed2D_v1_class_mapping_id\.json"):
        release.records()


def test_damaged_files_are_listed_by_the_conversion(release: Release, tmp_path: Path):
    for case in ("shape", "cut", "empty", "none"):
        release.add(f"ct_00--BraTS--{case}--z_1", *(["0000_000"] if case != "none" else []))
    release.write_index()
    masks = release.folder / "masks"
    Image.new("L", (9, 7), 255).save(masks / "ct_00--BraTS--shape--z_1--0000_000.png")
    Image.new("L", (9, 6), 0).save(masks / "ct_00--BraTS--empty--z_1--0000_000.png")
    cut = release.folder / "images" / "ct_00--BraTS--cut--z_1.png"
    cut.write_bytes(cut.read_bytes()[:100])
    datamodule = SAMed2D(str(release.root), str(tmp_path / "t.lance"), test_fraction=0)
    datamodule.prepare_data()
    lines = (tmp_path / "t.skipped.jsonl").read_text().splitlines()
    found = {Path(skip["path"]).name: skip["reason"] for skip in map(json.loads, lines)}
    assert "shape" in found["ct_00--BraTS--shape--z_1--0000_000.png"]
    assert found["ct_00--BraTS--empty--z_1--0000_000.png"] == "empty mask"
    assert "decoded" in found["ct_00--BraTS--cut--z_1.png"]
    assert "masks" in found["ct_00--BraTS--none--z_1.png"]
    assert sum(datamodule.table.offsets(split).size for split in ("train", "val", "test")) == 1


@pytest.mark.skipif(not SHARED.is_dir(), reason="the sample data are not beside the repository")
def test_the_sample_data_give_5_images_with_30_masks(tmp_path: Path):
    datamodule = SAMed2D(str(SHARED), str(tmp_path / "t.lance"))
    found = list(datamodule.records(SHARED))
    samples = [item for item in found if isinstance(item, RawSample)]
    assert len(samples) == len(found) == 5
    assert sorted(len(sample.masks) for sample in samples) == [0, 3, 4, 8, 15]
    assert Counter(sample.modality for sample in samples) == {"ct": 5}
    for sample in samples:
        shape = resolve_image(sample.image, "").shape[:2]
        assert all(resolve_mask(mask.mask, "").shape == shape for mask in sample.masks)
    datamodule.prepare_data()
    (line,) = (tmp_path / "t.skipped.jsonl").read_text().splitlines()
    assert json.loads(line)["path"].endswith("ct_00--AMOS2022--amos_0507--z_0031.png")


def prepared(release: Release, root: Path, table: Path) -> list[str]:
    datamodule = SAMed2D(str(root), str(table), image_size=8)
    datamodule.prepare(WorkOptions(progress=False))
    return [record.id for record in datamodule.table.read(range(len(datamodule.table)))]


def test_an_archive_is_read_though_half_of_it_is_unpacked_beside_it(
    release: Release, tmp_path: Path
):
    release.index = {}
    names = [f"ct_00--A--case_{number}--z_1" for number in range(8)]
    for name in names:
        release.add(name, "0000_000")
    release.write_index()
    for path in (release.folder / "images").glob("mr_*"):
        path.unlink()
    shutil.make_archive(str(tmp_path / "release"), "zip", release.root, release.folder.name)
    for name in names[2:]:
        (release.folder / "images" / f"{name}.png").unlink()
    assert sorted(prepared(release, release.root, tmp_path / "t.lance")) == names
    assert prepared(release, release.folder, tmp_path / "unpacked.lance") == names[:2]


def test_a_tree_of_which_most_is_not_unpacked_is_no_table(release: Release, tmp_path: Path):
    release.index = {}
    names = [f"ct_00--A--case_{number}--z_1" for number in range(30)]
    for name in names:
        release.add(name, "0000_000")
    release.write_index()
    for name in names[6:]:
        (release.folder / "images" / f"{name}.png").unlink()
    with pytest.raises(ConversionError, match=r"24 files could not be read or are not there"):
        prepared(release, release.root, tmp_path / "t.lance")
    assert not (tmp_path / "t.lance").exists()
