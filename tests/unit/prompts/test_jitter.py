from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from syncsam_lightning.prompts import BoxJitter, jitter_boxes

SIDES = (64, 256, 1024)


def jittered(boxes, keys, jitter, *, side=256, sizes=None, draw=0):
    sizes = torch.tensor([[side, side]]) if sizes is None else sizes
    index = torch.zeros(len(boxes), dtype=torch.int64)
    return jitter_boxes(boxes, keys, jitter, draw=draw, side=side, sizes=sizes, image_index=index)


@st.composite
def boxes_on_images(draw):
    side = draw(st.sampled_from(SIDES))
    height, width = draw(st.integers(1, side)), draw(st.integers(1, side))
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    x1, y1 = draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))
    box = torch.tensor([[x0, y0, x1, y1]], dtype=torch.float32)
    return box, side, torch.tensor([[height, width]])


@settings(deadline=None, max_examples=200)
@given(
    boxes_on_images(),
    st.integers(0, 2**63 - 1),
    st.sampled_from(["translate", "edges", "none"]),
    st.integers(0, 40),
)
def test_jittered_boxes_stay_on_the_image_and_are_never_empty(case, key, rule, max_shift):
    box, side, sizes = case
    result = jittered(box, torch.tensor([key]), BoxJitter(rule, max_shift), side=side, sizes=sizes)
    x0, y0, x1, y1 = result[0].tolist()
    height, width = sizes[0].tolist()
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    assert (result - box).abs().max() <= max_shift * side / 256


KEYS = torch.arange(3000)
CENTRE = torch.tensor([[100.0, 90.0, 160.0, 130.0]])


def test_translation_moves_opposite_edges_together_by_minus_m_to_below_m():
    shifts = jittered(CENTRE.expand(3000, 4), KEYS, BoxJitter()) - CENTRE
    assert shifts[:, 0].equal(shifts[:, 2])
    assert shifts[:, 1].equal(shifts[:, 3])
    for axis in (0, 1):
        values, counts = shifts[:, axis].unique(return_counts=True)
        assert values.tolist() == list(range(-5, 5))
        assert ((counts - 300.0) ** 2 / 300).sum() < 35
    assert abs(torch.corrcoef(shifts[:, :2].T)[0, 1]) < 0.07


def test_a_thin_box_is_translated_by_less_than_half_its_shorter_side():
    thin = torch.tensor([[50.0, 50.0, 55.0, 90.0]])  # m = int(0.5 * 5) = 2
    shifts = jittered(thin.expand(3000, 4), KEYS, BoxJitter()) - thin
    assert shifts[:, 0].unique().tolist() == [-2, -1, 0, 1]
    assert shifts[:, 1].unique().tolist() == [-2, -1, 0, 1]


@pytest.mark.parametrize("rule", ["translate", "edges"])
def test_a_box_of_one_pixel_stays(rule):
    pixel = torch.tensor([[7.0, 9.0, 8.0, 10.0]])
    assert jittered(pixel.expand(50, 4), KEYS[:50], BoxJitter(rule)).equal(pixel.expand(50, 4))


def test_edges_move_on_their_own_and_symmetrically():
    shifts = jittered(CENTRE.expand(3000, 4), KEYS, BoxJitter("edges")) - CENTRE
    for edge in range(4):
        assert shifts[:, edge].unique().tolist() == list(range(-5, 6))
        assert abs(shifts[:, edge].mean().item()) < 0.3
    assert (torch.corrcoef(shifts.T) - torch.eye(4)).abs().max() < 0.07


def test_opposite_edges_do_not_meet():
    small = torch.tensor([[50.0, 50.0, 54.0, 53.0]])  # m = 1
    result = jittered(small.expand(3000, 4), KEYS, BoxJitter("edges"))
    assert (result - small).abs().max() == 1
    assert (result[:, 3] - result[:, 1]).min() == 1


def test_shifts_scale_with_the_side_of_the_square():
    at_256 = jittered(CENTRE.expand(100, 4), KEYS[:100], BoxJitter()) - CENTRE
    at_64 = jittered(CENTRE.expand(100, 4) / 4, KEYS[:100], BoxJitter(), side=64) - CENTRE / 4
    assert at_64.equal(at_256 / 4)


def test_a_box_at_the_edge_of_the_image_part_is_clipped_there():
    corner = torch.tensor([[180.0, 60.0, 200.0, 100.0]])
    sizes = torch.tensor([[100, 200]])
    result = jittered(corner.expand(500, 4), KEYS[:500], BoxJitter(), sizes=sizes)
    assert result[:, 2].max() == 200
    assert result[:, 3].max() == 100
    assert result[:, 2].min() == 195


def test_boxes_stay_on_an_image_that_lies_inside_the_square():
    box = torch.tensor([[60.0, 80, 80, 100]])  # fills the image part but for a pixel all round
    options = {
        "sizes": torch.tensor([[22, 22]]),
        "image_index": torch.zeros(500, dtype=torch.int64),
        "origins": torch.tensor([[79, 59]]),
    }
    boxes = box.expand(500, 4)
    result = jitter_boxes(boxes, KEYS[:500], BoxJitter(), draw=0, side=256, **options)
    assert result.amin(0).tolist()[:2] == [59, 79]
    assert result.amax(0).tolist()[2:] == [81, 101]
    empty = jitter_boxes(boxes * 0, KEYS[:500], BoxJitter(), draw=0, side=256, **options)
    assert (empty == 0).all()


def test_no_jitter_returns_the_box():
    assert jittered(CENTRE, KEYS[:1], BoxJitter("none")).equal(CENTRE)
    assert jittered(CENTRE, KEYS[:1], BoxJitter(max_shift=0)).equal(CENTRE)


@pytest.mark.parametrize("rule", ["translate", "edges", "none"])
def test_the_empty_box_of_an_empty_mask_stays_empty(rule):
    assert jittered(torch.zeros(1, 4), KEYS[:1], BoxJitter(rule)).equal(torch.zeros(1, 4))


@pytest.mark.parametrize("rule", ["translate", "edges"])
def test_a_batch_on_several_images_equals_one_by_one(rule):
    boxes = torch.tensor([[0.0, 0, 9, 9], [20, 5, 60, 30], [3, 3, 50, 40]])
    sizes, index = torch.tensor([[64, 50], [40, 64]]), torch.tensor([0, 1, 0])
    keys = torch.tensor([5, 5, 2**62])
    options = {"draw": 3, "side": 64}
    batch = jitter_boxes(boxes, keys, BoxJitter(rule), sizes=sizes, image_index=index, **options)
    for i in range(3):
        one = slice(i, i + 1)
        alone = jitter_boxes(
            boxes[one], keys[one], BoxJitter(rule),
            sizes=sizes[index[one]], image_index=torch.zeros(1, dtype=torch.int64), **options,
        )  # fmt: skip
        assert alone.equal(batch[one])


def test_draws_are_independent():
    a, b = (jittered(CENTRE.expand(300, 4), KEYS[:300], BoxJitter(), draw=i) for i in (0, 1))
    assert (a == b).all(1).float().mean() < 0.05  # by chance: 1 in 100


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rule": "wobble"}, "rule must be one of translate, edges, none, got 'wobble'"),
        ({"max_shift": -1}, "max_shift must be 0 or more, got -1"),
    ],
)
def test_impossible_jitter_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        BoxJitter(**settings)
