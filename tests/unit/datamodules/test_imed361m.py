from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import sparse
from syncsam_datamodules.imed361m import IMed361M, SparseLabels, pseudo_instances

from syncsam_lightning.data.readers import resolve_mask
from syncsam_lightning.errors import BrokenInputError, DatasetNotFoundError
from syncsam_lightning.records import RawSample, Skipped

SHARED = Path(__file__).parents[4] / "shared" / "data" / "imed361m"
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


def test_a_stored_zero_is_background(tmp_path: Path):
    path = tmp_path / "x.(2, 1, 3).npz"
    matrix = sparse.csr_matrix(np.array([[1, 1, 1], [0, 1, 0]]))
    matrix.data[[1, 3]] = 0
    with path.open("wb") as file:
        sparse.save_npz(file, matrix)
    (mask,) = SparseLabels.load(path).masks({"1": "a", "2": "b"}, "")
    assert mask.label == "a"
    np.testing.assert_array_equal(resolve_mask(mask.mask, ""), [[True, False, True]])


@pytest.mark.parametrize(
    ("name", "case", "position"),
    [
        ("ABD_001_100", "ABD_001", "100"),
        ("patient12_frame01_3", "patient12_frame01", "3"),
        ("ISIC_0012345", "ISIC_0012345", ""),
        ("1.2.840.3_5", "1.2.840.3", "5"),
        ("photo", "photo", ""),
    ],
)
def test_a_trailing_number_is_the_slice_only_after_a_name_with_a_number(
    source: Source, name: str, case: str, position: str
):
    source.add(name)
    (sample,), _ = records(source)
    assert (sample.case, sample.slice) == (case, position)


@pytest.mark.parametrize(
    "stem",
    ["x___v1.2(b).(3, 6, 9, 1)", "x.(3,6,9,1)", "x (3, 6, 9)", "x.(1, 1, 1, 1).(3, 6, 9, 1)"],
)
def test_the_shape_is_the_last_group_in_parentheses(tmp_path: Path, stem: str):
    path = tmp_path / f"{stem}.npz"
    write_label(path, dense_label())
    assert SparseLabels.load(path).shape == (3, 6, 9)


@pytest.mark.parametrize(
    ("stem", "reason"),
    [
        ("x___a", "its name does not end with (CHANNELS, HEIGHT, WIDTH, 1)"),
        ("x___a.(3, 6, 9, 2)", "its name does not end with"),
        ("x___a.(3, 54)", "its name does not end with"),
        ("x___a.(3, 0, 9, 1)", "its name does not end with"),
        ("x___a.(3, -6, 9, 1)", "its name does not end with"),
        ("x___a.(__import__('os'), 6, 9, 1)", "its name does not end with"),
        ("x___a.(3, 9, 7, 1)", "its shape [3, 54] does not agree with (3, 9, 7) in its name"),
        ("x___a.(3, 100000, 100000, 1)", "larger than any image"),
    ],
)
def test_a_label_with_a_wrong_shape_in_its_name_is_refused(tmp_path: Path, stem: str, reason: str):
    path = tmp_path / f"{stem}.npz"
    write_label(path, dense_label())
    with pytest.raises(BrokenInputError) as error:
        SparseLabels.load(path)
    assert error.value.path == str(path)
    assert reason in error.value.reason


def npz(path: Path, **members: Any) -> Path:
    """Write a label of shape (2, 1, 3), with some of its members replaced or, by None, left out."""
    parts = {
        "format": np.array(b"csr"),
        "shape": np.array([2, 3]),
        "indptr": np.array([0, 1, 2]),
        "indices": np.array([0, 2]),
        "data": np.array([1, 1]),
    } | members
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in parts.items():
            if value is not None:
                buffer = io.BytesIO()
                np.lib.format.write_array(buffer, value, allow_pickle=True)
                archive.writestr(f"{name}.npy", buffer.getvalue())
    return path


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"indices": np.array([0, 3])}, "an index lies outside the image"),
        ({"indices": np.array([-1, 2])}, "an index lies outside the image"),
        ({"indices": np.array([0])}, "indices has shape (1,) instead of (2,)"),
        ({"indptr": np.array([0, 2, 1])}, "index pointers are out of order"),
        ({"indptr": np.array([1, 1, 2])}, "index pointers are out of order"),
        ({"indptr": np.array([0, 1, 1 << 40])}, "index pointers are out of order"),
        ({"indptr": np.array([0, 2])}, "indptr has shape (2,) instead of (3,)"),
        ({"format": np.array(b"csc")}, "its format is not CSR"),
        ({"shape": np.array([2, 4])}, "does not agree with"),
        ({"data": np.array([1, "x"], dtype=object)}, "data holds object, not plain numbers"),
        ({"indices": np.array([0.0, 1.0])}, "indices holds float64, not plain numbers"),
        ({"data": None}, "There is no item named 'data.npy'"),
    ],
)
def test_a_damaged_label_is_refused_with_its_reason(
    tmp_path: Path, members: dict[str, Any], reason: str
):
    path = npz(tmp_path / "x.(2, 1, 3, 1).npz", **members)
    with pytest.raises(BrokenInputError) as error:
        SparseLabels.load(path)
    assert error.value.path == str(path)
    assert reason in error.value.reason


def test_the_undamaged_label_of_that_test_is_read(tmp_path: Path):
    labels = SparseLabels.load(npz(tmp_path / "x.(2, 1, 3, 1).npz"))
    drawn = [resolve_mask(mask.mask, "").tolist() for mask in labels.masks({}, "")]
    assert drawn == [[[True, False, False]], [[False, False, True]]]
    assert [mask.label for mask in labels.masks({}, "")] == ["class_0001", "class_0002"]


def test_a_header_that_declares_too_much_is_refused_before_it_is_allocated(tmp_path: Path):
    path = npz(tmp_path / "x.(2, 1, 3, 1).npz", data=None)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<i8", "fortran_order": False, "shape": (1 << 44,)}
    )
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("data.npy", header.getvalue())
    with pytest.raises(BrokenInputError, match="data has shape"):
        SparseLabels.load(path)


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


def test_nothing_is_unpickled(tmp_path: Path):
    mark = tmp_path / "mark"
    bomb = np.array([Bomb(mark)], dtype=object)
    label = npz(tmp_path / "x.(2, 1, 3, 1).npz", shape=bomb)
    region, plain = tmp_path / "r.npy", tmp_path / "p.npy"
    np.save(region, bomb, allow_pickle=True)
    plain.write_bytes(pickle.dumps(Bomb(mark)))
    for read, path in (
        (SparseLabels.load, label),
        (pseudo_instances, region),
        (pseudo_instances, plain),
    ):
        with pytest.raises(BrokenInputError) as error:
            read(path)
        assert error.value.path == str(path)
    assert not mark.exists()


@pytest.mark.parametrize("keep", [0, 10, 300])
def test_a_truncated_label_is_skipped_and_its_image_has_no_masks(source: Source, keep: int):
    source.add("a1_2")
    path = source.folder / source.add("a1_1")["label"]
    path.write_bytes(path.read_bytes()[:keep])
    (whole, cut), (skipped,) = records(source)
    assert (len(whole.masks), len(cut.masks)) == (2, 0)
    assert skipped.path == str(path)
    assert skipped.reason.startswith("not a sparse label")


@pytest.mark.parametrize("at", [0, 5, 60])
def test_a_flipped_byte_in_a_label_is_found(source: Source, at: int):
    path = source.folder / source.add("a1_1")["label"]
    with zipfile.ZipFile(path) as archive:
        header = archive.getinfo("indices.npy").header_offset
    content = bytearray(path.read_bytes())
    name_and_extra = sum(struct.unpack_from("<HH", content, header + 26))
    content[header + 30 + name_and_extra + at] ^= 0xFF
    path.write_bytes(content)
    _, (skipped,) = records(source)
    assert skipped.path == str(path)


@pytest.mark.parametrize("key", ["image", "label"])
def test_an_entry_without_a_file_is_skipped_with_its_path(source: Source, key: str):
    path = source.folder / source.add("a1_1")[key]
    path.unlink()
    samples, skipped = records(source)
    assert skipped == [Skipped(str(path), "dataset.json names it, but there is no such file")]
    assert [sample.masks for sample in samples] == ([] if key == "image" else [()])


@pytest.mark.parametrize("key", ["image", "label", "imask"])
@pytest.mark.parametrize("value", ["../x.png", "/x.png", "{0}/../x.png", "{0}\\x.png", "{0}/x.exe"])
def test_an_entry_that_leaves_the_data_set_is_refused(source: Source, key: str, value: str):
    entry = source.add("a1_1")
    entry[key] = value.format(key)
    _, (skipped,) = records(source, pseudo_masks=True)
    assert skipped.path == value.format(key)
    assert f"is not {key}/NAME" in skipped.reason


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


def test_pseudo_instances_are_off_by_default(source: Source):
    source.add("a1_1")
    (sample,), _ = records(source)
    assert "pseudo" not in {mask.label for mask in sample.masks}


def regions(tmp_path: Path, label_map: np.ndarray) -> dict[int, np.ndarray]:
    np.save(tmp_path / "r.npy", label_map)
    masks = pseudo_instances(tmp_path / "r.npy")
    return {mask.instance: resolve_mask(mask.mask, "") for mask in masks}


def test_a_solid_region_stays_as_it_is_and_minus_one_is_none(tmp_path: Path):
    label_map = np.full((40, 50, 1), -1, dtype=np.int64)
    label_map[3:9, 40:50] = 0
    label_map[20:25, 10:20] = 9
    found = regions(tmp_path, label_map)
    assert sorted(found) == [0, 9]
    for number, mask in found.items():
        np.testing.assert_array_equal(mask, label_map[..., 0] == number)


def test_a_region_below_a_share_of_one_in_2000_is_dropped(tmp_path: Path):
    label_map = np.zeros((200, 200), dtype=np.int64)
    label_map[:3, :6] = 1
    label_map[50:54, 50:55] = 2
    assert sorted(regions(tmp_path, label_map)) == [0, 2]


def test_thin_lines_and_small_pieces_are_removed_and_pinholes_closed(tmp_path: Path):
    label_map = np.full((100, 100), -1, dtype=np.int64)
    label_map[10:30, 10:30] = 4
    label_map[20, 20] = -1
    label_map[60, :] = 4
    found = regions(tmp_path, label_map)[4]
    # Opening widens the pinhole to the size of its square, closing fills that again.
    expected = np.zeros((100, 100), dtype=bool)
    expected[10:30, 10:30] = True
    np.testing.assert_array_equal(found, expected)


def test_a_region_that_cleaning_dissolves_is_named(tmp_path: Path):
    label_map = np.full((100, 100), -1, dtype=np.int64)
    label_map[60, :] = 4
    np.save(tmp_path / "r.npy", label_map)
    (mask,) = pseudo_instances(tmp_path / "r.npy")
    with pytest.raises(BrokenInputError, match=r"r\.npy\[4\]: no piece of this pseudo-instance"):
        resolve_mask(mask.mask, mask.path)


def test_an_archive_in_place_of_pseudo_instances_is_refused(tmp_path: Path):
    with (tmp_path / "r.npy").open("wb") as file:
        np.savez(file, np.zeros((4, 4), dtype=np.int64))
    with pytest.raises(BrokenInputError, match="not a label map"):
        pseudo_instances(tmp_path / "r.npy")


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((4, 4), dtype=np.float32), "not a label map (float32"),
        (np.zeros((4, 4, 2), dtype=np.int64), "not a label map (int64 of shape (4, 4, 2))"),
        (np.zeros((0, 4), dtype=np.int64), "not a label map"),
        (np.full((4, 4), -2, dtype=np.int64), "number is not in -1..65535"),
        (np.full((4, 4), 1 << 40, dtype=np.int64), "number is not in -1..65535"),
    ],
)
def test_an_array_that_is_no_label_map_is_refused(tmp_path: Path, array: np.ndarray, reason: str):
    np.save(tmp_path / "r.npy", array)
    with pytest.raises(BrokenInputError) as error:
        pseudo_instances(tmp_path / "r.npy")
    assert reason in error.value.reason


@pytest.mark.parametrize("keep", [0, 40, 300])
def test_damaged_pseudo_instances_are_skipped_and_the_labels_stay(source: Source, keep: int):
    path = source.folder / source.add("a1_1")["imask"]
    path.write_bytes(path.read_bytes()[:keep])
    (sample,), (skipped,) = records(source, pseudo_masks=True)
    assert [mask.label for mask in sample.masks] == ["left", "corner"]
    assert skipped.path == str(path)
    assert skipped.reason.startswith("not a label map")


# The sample data


@pytest.mark.skipif(not SHARED.is_dir(), reason="the sample data are not beside the repository")
def test_the_sample_data_give_56_images_with_the_masks_that_scipy_reads():
    samples, skipped = split(list(IMed361M().records(SHARED)))
    assert skipped == []
    assert Counter(sample.split for sample in samples) == {"train": 50, "test": 6}
    assert {sample.case for sample in samples if sample.split == "test"} == {"ABD_037", "ABD_038"}
    names = json.loads((SHARED / "BTCV" / "dataset.json").read_text())["labels"]
    for sample in samples:
        (path,) = (SHARED / "BTCV" / "label").glob(f"x___{Path(sample.path).stem}.*")
        dense = sparse.load_npz(path).toarray().reshape(13, 512, 512)
        present = [channel for channel in range(13) if dense[channel].any()]
        assert [mask.label for mask in sample.masks] == [names[str(c + 1)] for c in present]
        for mask, channel in zip(sample.masks, present, strict=True):
            np.testing.assert_array_equal(resolve_mask(mask.mask, ""), dense[channel] != 0)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the sample data are not beside the repository")
def test_the_sample_data_have_pseudo_instances_on_every_training_image():
    samples, skipped = split(list(IMed361M(pseudo_masks=True).records(SHARED)))
    assert skipped == []
    counts = [sum(mask.label == "pseudo" for mask in sample.masks) for sample in samples]
    assert min(counts[:50]) >= 10
    assert counts[50:] == [0] * 6
