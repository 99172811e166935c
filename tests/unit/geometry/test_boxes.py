from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from syncsam_lightning.geometry import masks_to_boxes

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 12), st.integers(1, 12))


@settings(deadline=None, max_examples=150)
@given(SHAPES.flatmap(lambda shape: arrays(bool, shape, elements=st.booleans())))
def test_boxes_contain_their_mask_and_are_tight(array):
    masks = torch.from_numpy(array)
    boxes = masks_to_boxes(masks)
    assert boxes.shape == (len(masks), 4)
    assert boxes.dtype == torch.float32
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.int().tolist(), strict=True):
        assert mask[y0:y1, x0:x1].sum() == mask.sum()
        if mask.any():
            for smaller in (
                mask[y0 + 1 : y1, x0:x1],
                mask[y0 : y1 - 1, x0:x1],
                mask[y0:y1, x0 + 1 : x1],
                mask[y0:y1, x0 : x1 - 1],
            ):
                assert smaller.sum() < mask.sum()


def test_the_box_of_a_square_is_half_open():
    masks = torch.zeros(1, 16, 20, dtype=torch.bool)
    masks[0, 2:5, 7:10] = True
    assert masks_to_boxes(masks).tolist() == [[7, 2, 10, 5]]


def test_an_empty_mask_has_the_empty_box():
    masks = torch.zeros(3, 5, 4, dtype=torch.bool)
    masks[1] = True
    assert masks_to_boxes(masks).tolist() == [[0, 0, 0, 0], [0, 0, 4, 5], [0, 0, 0, 0]]


def test_scattered_parts_share_one_box():
    masks = torch.zeros(1, 6, 8, dtype=torch.bool)
    masks[0, 5, 0] = masks[0, 1, 7] = True
    assert masks_to_boxes(masks).tolist() == [[0, 1, 8, 6]]


def test_any_nonzero_number_is_foreground():
    masks = torch.zeros(1, 4, 4)
    masks[0, 1, 2] = -0.5
    assert masks_to_boxes(masks).tolist() == [[2, 1, 3, 2]]


def test_no_mask_has_no_box():
    assert masks_to_boxes(torch.zeros(0, 4, 4)).shape == (0, 4)


def test_a_single_mask_without_batch_is_refused():
    with pytest.raises(ValueError, match=r"masks must be \(N, H, W\), got \(4, 4\)"):
        masks_to_boxes(torch.zeros(4, 4))
