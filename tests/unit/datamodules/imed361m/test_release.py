"""Releases as downloaded: archives, folders, and both."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import sparse
from syncsam_datamodules.imed361m import IMed361M

from syncsam_lightning.data.readers import resolve_image, resolve_mask
from syncsam_lightning.data.sources.zip_source import ZipSource
from syncsam_lightning.errors import BrokenInputError, DatasetNotFoundError
from syncsam_lightning.records import LazyMasks, RawSample, Skipped

SIDE = 16


def write_data_set(folder: Path, num_images: int = 3) -> None:
    for kind in ("image", "label"):
        (folder / kind).mkdir(parents=True)
    listed = []
    for number in range(num_images):
        name = f"case{number}_{number}"
        picture = np.full((SIDE, SIDE, 3), 10 * number, np.uint8)
        Image.fromarray(picture).save(folder / "image" / f"{name}.png")
        dense = np.zeros((2, SIDE, SIDE), np.int32)
        dense[0, 2 : 5 + number, 3:9] = 1
        label = f"label/x___{name}.(2, {SIDE}, {SIDE}, 1).npz"
        with (folder / label).open("wb") as file:
            sparse.save_npz(file, sparse.csr_matrix(dense.reshape(2, -1)))
        listed.append({"image": f"image/{name}.png", "label": label})
    content = {
        "modality": {"0": "mr"},
        "labels": {"0": "background", "1": "heart", "2": "absent"},
        "training": listed[1:],
        "test": listed[:1],
    }
    (folder / "dataset.json").write_text(json.dumps(content))


def pack(folder: Path, archive: Path, top: str) -> None:
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as written:
        for path in sorted(folder.rglob("*")):
            written.write(path, f"{top}{path.relative_to(folder)}")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write_data_set(tmp_path / "tree" / "A")
    write_data_set(tmp_path / "tree" / "B", 4)
    return tmp_path / "tree"


def told(root: Path) -> tuple[dict[str, tuple[object, ...]], list[Skipped]]:
    """Return what a release holds, pixels included, and what was skipped of it."""
    samples, skipped = {}, []
    for item in IMed361M().records(root):
        if isinstance(item, Skipped):
            skipped.append(item)
            continue
        item = pickle.loads(pickle.dumps(item))
        masks = [(mask.label, resolve_mask(mask.mask, mask.path).tobytes()) for mask in item.masks]
        image = resolve_image(item.image, item.path).tobytes()
        samples[item.id] = (item.split, item.source, item.case, item.slice, image, masks)
    return samples, skipped


@pytest.mark.parametrize("top", ["{}/", "", "IMed-361M/{}/"], ids=["folder", "bare", "deep"])
def test_archives_hold_what_the_unpacked_release_holds(tmp_path: Path, tree: Path, top: str):
    for name in ("A", "B"):
        pack(tree / name, tmp_path / "zips" / f"{name}.zip", top.format(name))
    expected = told(tree)
    assert (len(expected[0]), expected[1]) == (7, [])
    assert told(tmp_path / "zips") == expected


def test_one_archive_may_hold_all_data_sets(tmp_path: Path, tree: Path):
    pack(tree, tmp_path / "all.zip", "release/")
    assert told(tmp_path / "all.zip") == told(tree)


def test_some_data_sets_may_be_unpacked_and_others_not(tmp_path: Path, tree: Path):
    pack(tree / "B", tmp_path / "B.zip", "B/")
    expected = told(tree)
    shutil.rmtree(tree / "B")
    (tmp_path / "B.zip").rename(tree / "B.zip")
    assert told(tree) == expected


def test_a_data_set_that_is_there_twice_is_used_once(tmp_path: Path, tree: Path):
    expected = told(tree)[0]
    pack(tree / "B", tree / "B.zip", "B/")
    samples, (skipped,) = told(tree)
    assert samples == expected
    assert skipped.path == str(tree / "B" / "dataset.json")
    assert skipped.reason.startswith(f"{tree / 'B.zip'}::B/dataset.json is a data set of the same")


def test_a_damaged_archive_is_named_and_the_others_are_used(tmp_path: Path, tree: Path):
    pack(tree / "A", tmp_path / "zips" / "A.zip", "A/")
    pack(tree / "B", tmp_path / "zips" / "B.zip", "B/")
    (tmp_path / "zips" / "C.zip").write_bytes(b"nonsense")
    data = bytearray((tmp_path / "zips" / "B.zip").read_bytes())
    data[data.rindex(b"PK\1\2")] = 0
    (tmp_path / "zips" / "B.zip").write_bytes(data)
    samples, skipped = told(tmp_path / "zips")
    assert {name[0] for name in samples} == {"A"}
    assert sorted(Path(item.path).name for item in skipped) == ["B.zip", "C.zip"]


def test_a_damaged_image_in_an_archive_is_named_with_its_archive(tmp_path: Path, tree: Path):
    pack(tree / "A", tmp_path / "A.zip", "A/")
    with zipfile.ZipFile(tmp_path / "A.zip") as archive:
        at = archive.getinfo("A/image/case1_1.png").header_offset
    data = bytearray((tmp_path / "A.zip").read_bytes())
    data[at + 60] ^= 1
    (tmp_path / "A.zip").write_bytes(data)
    (sample,) = (item for item in IMed361M().records(tmp_path / "A.zip") if item.id == "A/case1_1")
    with pytest.raises(BrokenInputError) as error:
        resolve_image(sample.image, sample.path)
    assert error.value.path == f"{tmp_path / 'A.zip'}::A/image/case1_1.png"


def test_listing_a_release_reads_its_indexes_only(
    tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
):
    pack(tree / "A", tmp_path / "A.zip", "A/")
    monkeypatch.setattr(ZipSource, "read", None)
    samples = list(IMed361M().records(tmp_path / "A.zip"))
    assert len(samples) == 3
    for sample in samples:
        assert isinstance(sample, RawSample)
        assert isinstance(sample.masks, LazyMasks)
        assert bool(sample.masks)
        assert len(pickle.dumps(sample)) < 2000


def test_a_dataset_json_in_an_archive_that_is_broken_is_named(tmp_path: Path, tree: Path):
    (tree / "A" / "dataset.json").write_text("{")
    pack(tree / "A", tmp_path / "zips" / "A.zip", "A/")
    pack(tree / "B", tmp_path / "zips" / "B.zip", "B/")
    with pytest.raises(BrokenInputError, match=r"A\.zip::A/dataset\.json: not readable as JSON"):
        next(IMed361M().records(tmp_path / "zips"))


def test_an_archive_of_something_else_is_told(tmp_path: Path, tree: Path):
    (tree / "A" / "dataset.json").unlink()
    pack(tree / "A", tmp_path / "A.zip", "A/")
    with pytest.raises(DatasetNotFoundError, match=r"no IMed-361M in .*A\.zip"):
        next(IMed361M().records(tmp_path / "A.zip"))


def test_an_image_that_no_entry_names_is_listed(tmp_path: Path, tree: Path):
    pack(tree / "A", tmp_path / "whole.zip", "A/")
    expected = told(tmp_path / "whole.zip")[0]
    shutil.copy(tree / "A" / "image" / "case1_1.png", tree / "A" / "image" / "extra.png")
    pack(tree / "A", tmp_path / "A.zip", "A/")
    samples, (skipped,) = told(tmp_path / "A.zip")
    assert samples == expected
    assert skipped.path == f"{tmp_path / 'A.zip'}::A/image/extra.png"
    assert (skipped.reason, skipped.source) == ("no entry of dataset.json names it", "A")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_stored_twice_in_an_archive_is_listed(tmp_path: Path, tree: Path):
    pack(tree / "A", tmp_path / "A.zip", "A/")
    expected = told(tmp_path / "A.zip")[0]
    with zipfile.ZipFile(tmp_path / "A.zip", "a") as archive:
        archive.writestr("A/image/case1_1.png", b"other")
    samples, (skipped,) = told(tmp_path / "A.zip")
    assert samples == expected
    assert skipped.path == f"{tmp_path / 'A.zip'}::A/image/case1_1.png"
    assert skipped.reason == "it is stored twice; the first is used"
