"""What is decided about a sample before any pixels are read."""

import os

import numpy as np
import pytest

from syncsam_lightning.data.conversion.row_units import assign, identify
from syncsam_lightning.errors import NOT_FOUND
from syncsam_lightning.records import LazyMasks, NamedMask, RawSample, Skipped


def sample(name="a", masks=None):
    image = np.zeros((4, 4), np.uint8)
    return RawSample(name, image, masks or [NamedMask("organ", image)], "ct", "s", "c")


def never():
    raise AssertionError("masks that only their reading tells are read by workers")


@pytest.fixture
def lazy():
    return sample(masks=LazyMasks(never, "labels/a.npz"))


def test_masks_that_are_read_late_are_not_read_when_samples_are_listed(lazy):
    (item,) = assign([lazy], lambda sample: "train")
    assert item == (lazy, "train")
    assert "labels/a.npz" in list(identify(item))


@pytest.mark.parametrize("name", ["a.png", "a[3]", "a.png[3]"])
@pytest.mark.parametrize("part", ["image", "mask", "late masks"])
def test_a_file_that_was_mended_makes_another_item(tmp_path, name: str, part: str):
    file = tmp_path / name
    pixels = np.zeros((4, 4), np.uint8)
    masks = {
        "image": [NamedMask("organ", pixels)],
        "mask": [NamedMask("organ", pixels, f"{file}[1]", files=(str(file),))],
        "late masks": LazyMasks(never, f"{file}[1]", (str(file),)),
    }
    image = file if part == "image" else pixels
    item = RawSample("a", image, masks[part], "ct", "s", "c"), "train"
    file.write_bytes(b"old")
    before = list(identify(item))
    assert list(identify(item)) == before
    file.write_bytes(b"mended")
    assert list(identify(item)) != before


def test_a_slice_is_of_the_files_that_it_names(tmp_path):
    volume, other = tmp_path / "v.nii[3]", tmp_path / "v.nii"
    masks = [NamedMask("organ", np.zeros((4, 4)))]
    path, files = f"{volume}[7]", (str(volume),)
    item = RawSample("a", never, masks, "ct", "s", "c", path=path, files=files), "train"
    other.write_bytes(b"old")
    volume.write_bytes(b"old")
    before = list(identify(item))
    other.write_bytes(b"another")
    assert list(identify(item)) == before
    volume.write_bytes(b"mended")
    assert list(identify(item)) != before


@pytest.mark.parametrize("masks", [None, [NamedMask(os.fsdecode(b"caf\xe9"), np.zeros((4, 4)))]])
def test_a_sample_with_a_name_that_is_not_utf8_is_refused(masks):
    bad = sample("a" if masks else os.fsdecode(b"caf\xe9"), masks)
    (item,) = assign([bad], lambda sample: "train")
    assert isinstance(item, Skipped)
    assert item.kind == "name is not UTF-8"


def test_a_file_that_is_not_there_is_lost_though_its_plugin_gave_no_kind(tmp_path):
    (tmp_path / "there.png").touch()
    skips = [
        Skipped(str(tmp_path / "gone.png"), "index.csv names it, but there is no such file"),
        Skipped(str(tmp_path / "there.png"), "is not wanted"),
        Skipped(str(tmp_path / "gone.png"), "is not wanted", "unwanted"),
        Skipped(str(tmp_path / "there.png[3]"), "is too small"),
        Skipped("index.csv", "its line 3 is malformed"),
        Skipped("inside/an/archive.png", "has a bad name"),
    ]
    found = [item.kind for item in assign(skips, lambda sample: "train")]
    assert found == [NOT_FOUND, "other", "unwanted", "other", "other", "other"]
