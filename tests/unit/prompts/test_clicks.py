from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from syncsam_lightning.prompts import Clicks, correction_clicks, foreground_clicks
from syncsam_lightning.prompts.clicks import _row_counts

KEYS = torch.tensor([11, 2**62 + 5, 3])


@st.composite
def mask_pairs(draw):
    """Two (N, H, W) masks of many densities, keys, and the image sizes."""
    n, h, w = draw(st.integers(1, 4)), draw(st.integers(1, 12)), draw(st.integers(1, 12))
    bits = arrays(bool, (n, h, w), elements=st.booleans(), fill=st.just(draw(st.booleans())))
    truth, prediction = (torch.from_numpy(draw(bits)) for _ in range(2))
    keys = torch.tensor(draw(st.lists(st.integers(0, 2**63 - 1), min_size=n, max_size=n)))
    images = draw(st.integers(1, 2))
    size = st.tuples(st.integers(1, h), st.integers(1, w))
    sizes = torch.tensor(draw(st.lists(size, min_size=images, max_size=images)))
    index = torch.tensor(draw(st.lists(st.integers(0, images - 1), min_size=n, max_size=n)))
    return truth, prediction, keys, sizes, index


def at(masks, clicks):
    x, y = clicks.points.long().unbind(2)
    return masks[torch.arange(len(masks))[:, None], y, x]


@settings(deadline=None, max_examples=100)
@given(mask_pairs(), st.integers(0, 9), st.integers(1, 5))
def test_foreground_clicks_lie_on_the_object(masks, draw, num):
    truth, _, keys, _, _ = masks
    clicks = foreground_clicks(truth, keys, draw=draw, num=num)
    assert clicks.points.shape == (*truth.shape[:1], num, 2)
    exists = truth.flatten(1).any(1)[:, None].expand(-1, num)
    assert clicks.labels.equal(torch.where(exists, 1, -1))
    assert at(truth, clicks)[exists].all()
    assert (clicks.points[~exists] == 0).all()


@settings(deadline=None, max_examples=100)
@given(mask_pairs(), st.integers(0, 9), st.integers(1, 5))
def test_corrections_lie_on_the_error_inside_the_image_and_say_the_truth(masks, draw, num):
    truth, prediction, keys, sizes, index = masks
    clicks = correction_clicks(
        truth, prediction, keys, draw=draw, num=num, sizes=sizes, image_index=index
    )
    for i, (height, width) in enumerate(sizes[index].tolist()):
        wrong = (truth ^ prediction)[i, :height, :width]
        points, labels = clicks.points[i], clicks.labels[i]
        if not wrong.any():
            assert (labels == -1).all()
            assert (points == 0).all()
            continue
        x, y = points.long().unbind(1)
        assert (x < width).all()
        assert (y < height).all()
        assert wrong[y, x].all()
        assert labels.equal(truth[i, y, x].long())


@settings(deadline=None, max_examples=50)
@given(mask_pairs(), st.integers(0, 9))
def test_a_batch_equals_one_by_one(masks, draw):
    truth, prediction, keys, sizes, index = masks
    batch = correction_clicks(
        truth, prediction, keys, draw=draw, num=3, sizes=sizes, image_index=index
    )
    first = foreground_clicks(truth, keys, draw=draw, num=3)
    for i in range(len(keys)):
        one = slice(i, i + 1)
        alone = correction_clicks(
            truth[one], prediction[one], keys[one], draw=draw, num=3,
            sizes=sizes[index[one]], image_index=torch.zeros(1, dtype=torch.int64),
        )  # fmt: skip
        assert alone.points.equal(batch.points[one])
        assert alone.labels.equal(batch.labels[one])
        assert foreground_clicks(truth[one], keys[one], draw=draw, num=3).points.equal(
            first.points[one]
        )


def test_the_only_pixel_of_an_object_is_clicked():
    masks = torch.zeros(3, 5, 7, dtype=torch.bool)
    masks[0, 4, 6] = masks[1, 0, 0] = masks[2, 2, 3] = True
    clicks = foreground_clicks(masks, KEYS, draw=0, num=2)
    assert clicks.points[:, 0].tolist() == [[6, 4], [0, 0], [3, 2]]
    assert clicks.points[:, 1].equal(clicks.points[:, 0])
    assert clicks.points.dtype == torch.float32
    assert clicks.labels.dtype == torch.int64


def test_an_empty_mask_gets_padding_and_leaves_its_neighbours_alone():
    masks = torch.zeros(3, 4, 4, dtype=torch.bool)
    masks[0, 1, 2] = masks[2, 3, 3] = True
    clicks = foreground_clicks(masks, KEYS, draw=0)
    assert clicks.labels.tolist() == [[1], [-1], [1]]
    assert clicks.points.tolist() == [[[2, 1]], [[0, 0]], [[3, 3]]]


def test_missed_pixels_are_foreground_and_extra_pixels_background():
    truth = torch.zeros(2, 4, 6, dtype=torch.bool)
    prediction = truth.clone()
    truth[0, 1, 5] = True
    prediction[1, 3, 2] = True
    clicks = correction_clicks(truth, prediction, KEYS[:2], draw=1, num=3)
    assert clicks.labels.tolist() == [[1, 1, 1], [0, 0, 0]]
    assert clicks.points[:, 0].tolist() == [[5, 1], [2, 3]]


def test_an_error_in_the_padding_is_not_clicked():
    truth = torch.zeros(1, 8, 8, dtype=torch.bool)
    prediction = truth.clone()
    prediction[0, 5:, :] = True
    options = {"draw": 1, "num": 2, "image_index": torch.zeros(1, dtype=torch.int64)}
    inside = correction_clicks(truth, prediction, KEYS[:1], sizes=torch.tensor([[5, 8]]), **options)
    assert inside.labels.tolist() == [[-1, -1]]
    one_row_more = correction_clicks(
        truth, prediction, KEYS[:1], sizes=torch.tensor([[6, 8]]), **options
    )
    assert one_row_more.points[..., 1].tolist() == [[5, 5]]


def test_the_image_part_may_lie_anywhere_in_the_square():
    truth = torch.zeros(2, 8, 8, dtype=torch.bool)
    prediction = torch.ones_like(truth)
    clicks = correction_clicks(
        truth,
        prediction,
        KEYS[:2],
        draw=0,
        num=400,
        sizes=torch.tensor([[1, 1], [2, 3]]),
        image_index=torch.tensor([1, 0]),
        origins=torch.tensor([[7, 7], [4, 1]]),
    )
    expected = {(x, y) for x in (1, 2, 3) for y in (4, 5)}
    assert set(map(tuple, clicks.points[0].int().tolist())) == expected
    assert set(map(tuple, clicks.points[1].int().tolist())) == {(7, 7)}


def test_every_foreground_pixel_is_equally_likely():
    mask = torch.zeros(6, 5, dtype=torch.bool)
    mask[0, 1] = mask[2] = mask[5, 4] = True  # 7 pixels
    keys = torch.arange(1000) * 31
    clicks = foreground_clicks(mask.expand(1000, -1, -1), keys, draw=2, num=7)
    x, y = clicks.points.long().unbind(2)
    counts = (y * 5 + x).flatten().bincount(minlength=30).reshape(6, 5)
    assert (counts > 0).equal(mask)
    chi_square = ((counts[mask] - 1000.0) ** 2 / 1000).sum()
    assert chi_square < 30  # 6 degrees of freedom


def test_draws_first_clicks_and_corrections_are_independent():
    masks = torch.ones(500, 16, 16, dtype=torch.bool)
    keys = torch.arange(500)
    draws = [foreground_clicks(masks, keys, draw=i).points for i in range(2)]
    draws.append(correction_clicks(masks, ~masks, keys, draw=0, num=1).points)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        same = (draws[a] == draws[b]).all(2).float().mean()
        assert same < 0.03  # by chance: 1 in 256


def test_clicks_do_not_depend_on_the_number_of_threads():
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(32, 64, 64, generator=generator) > 0.5
    keys = torch.arange(32)
    threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 4):
            torch.set_num_threads(count)
            results.append(foreground_clicks(masks, keys, draw=0, num=9).points)
    finally:
        torch.set_num_threads(threads)
    assert results[0].equal(results[1])


def test_the_full_batch_of_the_paper_fits():
    truth = torch.zeros(250, 256, 256, dtype=torch.bool)
    truth[:, 100:200, 50:90] = True
    clicks = correction_clicks(truth, torch.zeros_like(truth), torch.arange(250), draw=1, num=9)
    assert at(truth, clicks).all()


def test_later_clicks_go_after_earlier_ones():
    new = Clicks(torch.ones(2, 3, 2), torch.zeros(2, 3, dtype=torch.int64))
    both = new.after(torch.zeros(2, 1, 2), torch.ones(2, 1, dtype=torch.int64))
    assert both.labels.tolist() == [[1, 0, 0, 0]] * 2
    assert both.points[:, :, 0].tolist() == [[0, 1, 1, 1]] * 2
    assert new.after(None, None) is new


def test_masks_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"one shape, got \(1, 2, 2\) and \(1, 2, 3\)"):
        correction_clicks(
            torch.ones(1, 2, 2).bool(), torch.ones(1, 2, 3).bool(), KEYS[:1], draw=0, num=1
        )


def test_sizes_without_image_index_are_refused():
    mask = torch.ones(1, 2, 2).bool()
    with pytest.raises(ValueError, match="sizes and image_index must be given together"):
        correction_clicks(mask, mask, KEYS[:1], draw=0, num=1, sizes=torch.tensor([[2, 2]]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_clicks_where_a_cpu_does_without_waiting():
    masks = torch.rand(8, 64, 64, generator=torch.Generator().manual_seed(0)) > 0.5
    keys = torch.arange(8)
    on_gpu = masks.cuda(), (~masks).cuda(), keys.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        clicks = correction_clicks(*on_gpu, draw=1, num=9)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = correction_clicks(masks, ~masks, keys, draw=1, num=9)
    assert clicks.points.cpu().equal(expected.points)
    assert clicks.labels.cpu().equal(expected.labels)


@pytest.mark.parametrize("width", [7, 8, 24, 256, 2040, 2048])
def test_rows_are_counted_exactly_at_any_width(width):
    regions = torch.rand(3, 2, width, generator=torch.Generator().manual_seed(0)) < 0.7
    regions[0] = True
    expected = [[int(row.count_nonzero()) for row in region] for region in regions]
    assert _row_counts(regions).tolist() == expected
    turned = regions.transpose(1, 2).contiguous().transpose(1, 2)
    assert _row_counts(turned).tolist() == expected
