"""What is decided about a sample before any pixels are read."""

import os

import numpy as np
import pytest

from syncsam_lightning.data.conversion.row_units import assign, identify
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


@pytest.mark.parametrize("masks", [None, [NamedMask(os.fsdecode(b"caf\xe9"), np.zeros((4, 4)))]])
def test_a_sample_with_a_name_that_is_not_utf8_is_refused(masks):
    bad = sample("a" if masks else os.fsdecode(b"caf\xe9"), masks)
    (item,) = assign([bad], lambda sample: "train")
    assert isinstance(item, Skipped)
    assert item.kind == "name is not UTF-8"
