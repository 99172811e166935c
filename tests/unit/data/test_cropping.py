"""Masks that travel as a box give the very bytes that whole masks give."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncsam_lightning.data.codec import decode_mask, encode_crop, encode_mask
from syncsam_lightning.data.conversion.rows import RowMaker
from syncsam_lightning.data.cropping import tight
from syncsam_lightning.data.readers import resolve_crop, resolve_mask
from syncsam_lightning.data.resize import resize_crop
from syncsam_lightning.records import CroppedMask, NamedMask, RawSample

SIZES = st.integers(1, 70)


def some_mask(height: int, width: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), bool)
    top, bottom = sorted(rng.integers(0, height + 1, 2))
    left, right = sorted(rng.integers(0, width + 1, 2))
    mask[top:bottom, left:right] = rng.random((bottom - top, right - left)) < rng.random()
    return mask


@settings(deadline=None, max_examples=200)
@given(SIZES, SIZES, st.integers(0))
def test_a_box_holds_all_of_a_mask(height, width, seed):
    mask = some_mask(height, width, seed)
    crop = tight(mask)
    np.testing.assert_array_equal(crop.whole(), mask)
    assert crop.pixels.shape == tight(crop).pixels.shape
    if mask.any():
        assert all(side.any() for side in (*crop.pixels[[0, -1]], *crop.pixels.T[[0, -1]]))
        assert encode_crop(crop) == encode_mask(mask)
        np.testing.assert_array_equal(decode_mask(encode_crop(crop), mask.shape), mask)
    else:
        assert crop.pixels.size == 0


@settings(deadline=None, max_examples=200)
@given(SIZES, SIZES, SIZES, SIZES, st.integers(0))
def test_a_box_is_resized_as_the_whole_is(height, width, new_height, new_width, seed):
    mask = some_mask(height, width, seed)
    if not mask.any() or new_height > height or new_width > width:
        return
    found = resize_crop(tight(mask), new_height, new_width).whole()
    size = (new_width, new_height)
    across = cv2.resize(mask.astype(np.float32), (new_width, height), interpolation=cv2.INTER_AREA)
    shares = cv2.resize(across, size, interpolation=cv2.INTER_AREA).reshape(new_height, new_width)
    covered = shares >= 0.5 - 2.0**-12
    if 2 * shares[covered].sum() > shares.sum() * (1 + 1e-6):
        np.testing.assert_array_equal(found, covered)
    else:
        assert found.any()
        assert not found[shares == 0].any()


@pytest.mark.parametrize(("split", "size"), [("train", 20), ("train", 99), ("test", 20)])
def test_rows_of_boxes_are_rows_of_whole_masks(split, size):
    mask = some_mask(61, 47, 5)
    crop = CroppedMask((61, 47), 3, 2, mask[3:, 2:])
    mask[:3] = mask[:, :2] = False
    rows = [
        RowMaker(size, print).row(
            RawSample("1", np.ones((61, 47), np.uint8), [given], "ct", "s", "c"), split
        )
        for given in (NamedMask("a", mask), NamedMask("a", lambda: crop))
    ]
    assert rows[0] == rows[1] is not None
    assert resolve_mask(lambda: crop, "").tolist() == mask.tolist()
    assert resolve_crop(mask, "").pixels.tolist() == tight(crop).pixels.tolist()


@pytest.mark.parametrize(("top", "left"), [(-1, 0), (0, -1), (4, 0), (0, 4)])
def test_a_box_stays_in_its_mask(top: int, left: int):
    with pytest.raises(ValueError, match="leaves"):
        CroppedMask((5, 5), top, left, np.ones((2, 2), bool))
