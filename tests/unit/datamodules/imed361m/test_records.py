from __future__ import annotations

import json
import struct
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import sparse
from syncsam_datamodules.imed361m import IMed361M

from syncsam_lightning.data.readers import resolve_mask
from syncsam_lightning.errors import BrokenInputError, DatasetNotFoundError
from syncsam_lightning.records import RawSample, Skipped

SHARED = Path(__file__).parents[5] / "shared" / "data" / "imed361m"
HEIGHT, WIDTH = 6, 9


def dense_label() -> np.ndarray:
    """Three channels: a rectangle, nothing, one pixel in the last corner."""
    dense = np.zeros((3, HEIGHT, WIDTH), dtype=np.int32)
    dense[0, 1:4, 2:5] = 1
    dense[2, -1, -1] = 1
    return dense


def write_label(path: Path, dense: np.ndarray) -> None:
    with path.open("wb") as file:
        sparse.save_npz(file, sparse.csr_matrix(dense.reshape(len(dense), -1)))


class Source:
    """One data set of the release."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("image", "label", "imask"):
            (folder / name).mkdir(parents=True)
        self.content: dict[str, Any] = {
            "name": folder.name,
            "modality": {"0": "mr"},
            "labels": {"0": "background", "1": "left", "2": "absent", "3": "corner"},
            "training": [],
            "test": [],
        }

    def add(self, name: str, part: str = "training") -> dict[str, str]:
        shape = (3, HEIGHT, WIDTH, 1)
        entry = {
            "image": f"image/{name}.png",
            "label": f"label/x___{name}.{shape}.npz",
            "imask": f"imask/x___{name}.npy",
        }
        Image.new("RGB", (WIDTH, HEIGHT)).save(self.folder / entry["image"])
        write_label(self.folder / entry["label"], dense_label())
        regions = np.zeros((HEIGHT, WIDTH, 1), dtype=np.int64)
        regions[1:5, 1:5] = 7
        np.save(self.folder / entry["imask"], regions)
        self.content[part].append(entry)
        return entry

    def write(self) -> None:
        (self.folder / "dataset.json").write_text(json.dumps(self.content))


def split(found: list[RawSample | Skipped]) -> tuple[list[RawSample], list[Skipped]]:
    samples = [item for item in found if isinstance(item, RawSample)]
    return samples, [item for item in found if isinstance(item, Skipped)]


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path / "release" / "ACDC")


def broken(sample: RawSample) -> dict[str, str]:
    """Return why masks of a sample can't be read, by their paths."""
    reasons = {}
    for mask in sample.masks:
        try:
            resolve_mask(mask.mask, mask.path)
        except BrokenInputError as error:
            reasons[error.path] = error.reason
    return reasons


def records(source: Source, **options: Any) -> tuple[list[RawSample], list[Skipped]]:
    source.write()
    return split(list(IMed361M(**options).records(source.folder.parent)))


def test_an_image_carries_what_the_release_says(source: Source):
    source.add("ABD_001_100")
    source.add("ABD_002_7", "test")
    (first, second), skipped = records(source)
    assert skipped == []
    assert (first.id, first.modality, first.source) == ("ACDC/ABD_001_100", "mr", "ACDC")
    assert (first.case, first.slice, first.split) == ("ABD_001", "100", "train")
    assert (second.case, second.slice, second.split) == ("ABD_002", "7", "test")


def test_an_absent_class_is_left_out_without_a_word(source: Source):
    source.add("a1_1")
    (sample,), skipped = records(source)
    assert [mask.label for mask in sample.masks] == ["left", "corner"]
    assert skipped == []
    drawn = [resolve_mask(mask.mask, "") for mask in sample.masks]
    np.testing.assert_array_equal(drawn, dense_label()[[0, 2]] > 0)


@pytest.mark.parametrize(
    ("name", "case", "position"),
    [
        ("ABD_001_100", "ABD_001", "100"),
        ("patient12_frame01_3", "patient12_frame01", "3"),
        ("ISIC_0012345", "ISIC_0012345", ""),
        ("1.2.840.3_5", "1.2.840.3", "5"),
        ("photo", "photo", ""),
        ("ACDC2017_0000012", "ACDC2017_0000012", ""),
        ("patient001_frame01", "patient001", "frame01"),
        ("A_00012_x", "A_00012", "x"),
        ("A_00012_x_040", "A_00012", "x_040"),
        ("A_00012_040_y", "A_00012", "y_040"),
        ("left_x", "left_x", ""),
    ],
)
def test_a_trailing_number_is_the_slice_only_after_a_name_with_a_number(
    source: Source, name: str, case: str, position: str
):
    source.add(name)
    (sample,), _ = records(source)
    assert (sample.case, sample.slice) == (case, position)


@pytest.mark.parametrize("keep", [0, 10, 300])
def test_a_truncated_label_is_named_when_its_masks_are_asked_for(source: Source, keep: int):
    source.add("a1_2")
    path = source.folder / source.add("a1_1")["label"]
    path.write_bytes(path.read_bytes()[:keep])
    (whole, cut), skipped = records(source)
    assert (skipped, broken(whole)) == ([], {})
    (found,) = broken(cut).items()
    assert found[0] == str(path)
    assert found[1].startswith("not a sparse label")


@pytest.mark.parametrize("at", [0, 5, 60])
def test_a_flipped_byte_in_a_label_is_found(source: Source, at: int):
    path = source.folder / source.add("a1_1")["label"]
    with zipfile.ZipFile(path) as archive:
        header = archive.getinfo("indices.npy").header_offset
    content = bytearray(path.read_bytes())
    name_and_extra = sum(struct.unpack_from("<HH", content, header + 26))
    content[header + 30 + name_and_extra + at] ^= 0xFF
    path.write_bytes(content)
    (sample,), _ = records(source)
    assert list(broken(sample)) == [str(path)]


@pytest.mark.parametrize("key", ["image", "label"])
def test_an_entry_without_a_file_is_skipped_with_its_path(source: Source, key: str):
    path = source.folder / source.add("a1_1")[key]
    path.unlink()
    samples, skipped = records(source)
    (found,) = skipped
    assert found.path == str(path)
    assert found.reason == "dataset.json names it, but there is no such file"
    assert (found.kind, found.source) == ("named by the index, missing", "ACDC")
    assert [sample.masks for sample in samples] == ([] if key == "image" else [()])


@pytest.mark.parametrize("key", ["image", "label", "imask"])
@pytest.mark.parametrize("value", ["../x.png", "/x.png", "{0}/../x.png", "{0}\\x.png", "{0}/x.exe"])
def test_an_entry_that_leaves_the_data_set_is_refused(source: Source, key: str, value: str):
    entry = source.add("a1_1")
    entry[key] = value.format(key)
    _, (skipped, *others) = records(source, pseudo_masks=True)
    assert skipped.path == value.format(key)
    assert f"is not {key}/NAME" in skipped.reason
    left = ["no entry of dataset.json names it"] if key == "image" else []
    assert [item.reason for item in others] == left


@pytest.mark.parametrize("entry", [{}, {"image": 3}, "image/a.png", None])
def test_a_malformed_entry_is_skipped(source: Source, entry: Any):
    source.content["training"] = [entry]
    samples, (skipped,) = records(source)
    assert samples == []
    assert skipped.path == str(source.folder / "dataset.json")
    assert "names no image" in skipped.reason


@pytest.mark.parametrize(
    "change",
    [
        {"modality": "mr"},
        {"modality": {}},
        {"labels": ["a"]},
        {"labels": {"1": 3}},
        {"training": {"a": 1}},
    ],
)
def test_a_malformed_index_is_named_before_the_first_image(source: Source, change: dict[str, Any]):
    source.add("a1_1")
    source.write()
    other = Source(source.folder.parent / "Later")
    other.content |= change
    other.write()
    found = IMed361M().records(source.folder.parent)
    with pytest.raises(BrokenInputError, match=r"Later/dataset\.json: "):
        next(found)


def test_an_index_that_is_no_json_is_named(source: Source):
    (source.folder / "dataset.json").write_text("{")
    with pytest.raises(BrokenInputError, match=r"ACDC/dataset\.json: not readable as JSON"):
        list(IMed361M().records(source.folder))


def test_the_root_may_be_one_data_set(source: Source):
    source.add("a1_1")
    (expected,), _ = records(source)
    ((sample,), _) = split(list(IMed361M().records(source.folder)))
    assert (sample.id, sample.source) == (expected.id, expected.source) == ("ACDC/a1_1", "ACDC")


def test_a_folder_without_data_sets_says_what_is_missing(tmp_path: Path):
    with pytest.raises(DatasetNotFoundError, match=r"neither it nor a folder in it"):
        list(IMed361M().records(tmp_path))


# Pseudo-instances


def test_pseudo_instances_are_added_to_training_images_only(source: Source):
    source.add("a1_1")
    source.add("a2_1", "test")
    (train, test), _ = records(source, pseudo_masks=True)
    assert Counter(mask.label for mask in train.masks) == {"left": 1, "corner": 1, "pseudo": 2}
    assert [mask.instance for mask in train.masks if mask.label == "pseudo"] == [0, 7]
    assert [mask.label for mask in test.masks] == ["left", "corner"]


def test_all_files_that_are_read_for_the_masks_are_named(source: Source):
    entry = source.add("a1_1")
    (sample,), _ = records(source, pseudo_masks=True)
    files = [source.folder / entry[kind] for kind in ("label", "imask")]
    assert [Path(file) for file in sample.masks.files] == files


def test_pseudo_instances_are_off_by_default(source: Source):
    source.add("a1_1")
    (sample,), _ = records(source)
    assert "pseudo" not in {mask.label for mask in sample.masks}


@pytest.mark.parametrize("keep", [0, 40, 300])
def test_damaged_pseudo_instances_are_skipped_and_the_labels_stay(source: Source, keep: int):
    path = source.folder / source.add("a1_1")["imask"]
    path.write_bytes(path.read_bytes()[:keep])
    (sample,), skipped = records(source, pseudo_masks=True)
    assert skipped == []
    assert [mask.label for mask in sample.masks][:2] == ["left", "corner"]
    (found,) = broken(sample).items()
    assert found[0] == str(path)
    assert found[1].startswith("not a label map")


# The sample data


@pytest.mark.skipif(not SHARED.is_dir(), reason="the sample data are not beside the repository")
def test_every_mask_of_a_test_image_equals_the_label_pixel_for_pixel():
    samples, skipped = split(list(IMed361M().records(SHARED)))
    assert skipped == []
    assert Counter(sample.split for sample in samples) == {"train": 50, "test": 6}
    tests = [sample for sample in samples if sample.split == "test"]
    assert {sample.case for sample in tests} == {"ABD_037", "ABD_038"}
    names = json.loads((SHARED / "BTCV" / "dataset.json").read_text())["labels"]
    for sample in tests:
        (path,) = (SHARED / "BTCV" / "label").glob(f"x___{Path(sample.path).stem}.*")
        matrix = sparse.load_npz(path)
        present = [channel for channel in range(13) if matrix[channel].nnz]
        assert [mask.label for mask in sample.masks] == [names[str(c + 1)] for c in present]
        for mask, channel in zip(sample.masks, present, strict=True):
            dense = matrix[channel].toarray().reshape(512, 512)
            np.testing.assert_array_equal(resolve_mask(mask.mask, ""), dense != 0)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the sample data are not beside the repository")
def test_the_sample_data_have_pseudo_instances_on_training_images_only():
    samples, skipped = split(list(IMed361M(pseudo_masks=True).records(SHARED)))
    assert skipped == []
    first, last = samples[0], samples[-1]
    assert sum(mask.label == "pseudo" for mask in first.masks) >= 10
    assert sum(mask.label == "pseudo" for mask in last.masks) == 0
