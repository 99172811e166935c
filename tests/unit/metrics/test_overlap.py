from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from syncsam_lightning.metrics import dice, iou


def rectangles(*spans, height=6, width=8):
    masks = torch.zeros(len(spans), height, width, dtype=torch.bool)
    for mask, (y0, x0, y1, x1) in zip(masks, spans, strict=True):
        mask[y0:y1, x0:x1] = True
    return masks


def test_overlaps_are_known_by_hand():
    truth = rectangles((0, 0, 4, 4), (0, 0, 4, 4), (0, 0, 4, 4), (0, 0, 2, 2))
    prediction = rectangles((0, 0, 4, 4), (0, 2, 4, 6), (0, 4, 4, 8), (0, 0, 6, 8))
    assert dice(prediction, truth).tolist() == [1, 0.5, 0, 2 * 4 / 52]
    assert iou(prediction, truth).tolist() == [1, 8 / 24, 0, 4 / 48]
    assert dice(prediction, truth).dtype == torch.float64


def test_two_empty_masks_agree_and_one_does_not():
    empty, full = rectangles((0, 0, 0, 0)), rectangles((0, 0, 6, 8))
    for score in (dice, iou):
        assert score(empty, empty).tolist() == [1]
        assert score(empty, full).tolist() == [0]
        assert score(full, empty).tolist() == [0]


@settings(deadline=None, max_examples=60)
@given(arrays(bool, (2, 3, 5, 4), elements=st.booleans()))
def test_dice_and_iou_are_symmetric_and_functions_of_each_other(array):
    a, b = torch.from_numpy(array)
    d, j = dice(a, b), iou(a, b)
    assert d.equal(dice(b, a))
    assert j.equal(iou(b, a))
    assert torch.allclose(d, 2 * j / (1 + j))


def test_large_masks_are_counted_exactly():
    # 2**24 + 1 pixels, which a float32 sum can't count.
    truth = torch.ones(1, 4097, 4097, dtype=torch.bool)
    prediction = truth.clone()
    prediction[0, 0, 0] = False
    pixels = 4097**2
    assert dice(prediction, truth).item() == 2 * (pixels - 1) / (2 * pixels - 1)


def test_no_mask_has_no_score():
    assert dice(rectangles(), rectangles()).shape == (0,)


@pytest.mark.parametrize("score", [dice, iou])
def test_masks_of_different_shapes_are_refused(score):
    with pytest.raises(
        ValueError, match=r"must both be \(N, H, W\), got \(1, 6, 8\) and \(1, 6, 7\)"
    ):
        score(rectangles((0, 0, 1, 1)), rectangles((0, 0, 1, 1), width=7))


@pytest.mark.parametrize("score", [dice, iou])
def test_logits_are_refused(score):
    with pytest.raises(
        ValueError, match=r"must be bool \(threshold logits at 0\), got torch\.float32"
    ):
        score(torch.zeros(1, 6, 8), rectangles((0, 0, 1, 1)))


def test_200_random_masks_score_what_monai_computes(blobs):
    from monai.metrics import compute_dice, compute_iou

    truth, prediction = blobs(200, seed=0), blobs(200, seed=1)
    truth[:3], prediction[2:5] = False, False  # three empty truths, three empty predictions
    for score, theirs in ((dice, compute_dice), (iou, compute_iou)):
        expected = theirs(prediction[:, None], truth[:, None], ignore_empty=False)[:, 0]
        assert score(prediction, truth).float().equal(expected), score
        assert len(set(expected.tolist())) > 150


def test_what_two_empty_masks_score_can_be_chosen():
    empty, full = rectangles((0, 0, 0, 0)), rectangles((0, 0, 6, 8))
    for score in (dice, iou):
        assert score(empty, empty, empty=0.0).tolist() == [0]
        assert score(full, full, empty=0.0).tolist() == [1]
