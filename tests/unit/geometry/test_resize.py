from __future__ import annotations

from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_anything.utils.transforms import ResizeLongestSide

from syncsam_lightning.geometry import Fit, ResizePlan

PLANS = st.builds(
    ResizePlan,
    height=st.integers(1, 5000),
    width=st.integers(1, 5000),
    size=st.sampled_from([64, 256, 1024]),
)
# A float32 far below a millionth of a pixel would be lost beside the place of a centred image.
COORDINATES = st.just(0.0) | st.floats(2**-20, 1024, width=32)
FITS = st.sampled_from(get_args(Fit))
ANY_FIT = st.builds(
    ResizePlan,
    height=st.integers(1, 1500),
    width=st.integers(1, 1500),
    size=st.sampled_from([64, 256, 1024]),
    fit=FITS,
)


@settings(deadline=None, max_examples=200)
@given(ANY_FIT, st.lists(st.tuples(st.integers(0, 1023), st.integers(0, 1023)), min_size=1))
def test_whole_model_pixels_survive_the_way_to_the_original_and_back(plan, points):
    points = torch.tensor(points, dtype=torch.float32)
    assert plan.points_to_model(plan.points_to_original(points)).equal(points)


@settings(deadline=None, max_examples=200)
@given(ANY_FIT, st.floats(0, 1, width=32), st.floats(0, 1, width=32))
def test_what_came_from_original_pixels_survives_another_round_trip(plan, x, y):
    original = torch.tensor([[x * plan.width - 0.5, y * plan.height - 0.5]], dtype=torch.float64)
    model = plan.points_to_model(original)
    assert plan.points_to_model(plan.points_to_original(model)).equal(model)


@settings(deadline=None, max_examples=200)
@given(ANY_FIT, st.lists(COORDINATES, min_size=4, max_size=4))
def test_boxes_survive_the_way_to_the_original_and_back(plan, box):
    boxes = torch.tensor([box], dtype=torch.float32)
    assert plan.boxes_to_model(plan.boxes_to_original(boxes)).equal(boxes)


@settings(deadline=None, max_examples=300)
@given(PLANS)
def test_the_resized_shape_is_sam_s(plan):
    expected = ResizeLongestSide.get_preprocess_shape(plan.height, plan.width, plan.size)
    assert plan.resized == tuple(max(1, side) for side in expected)
    assert max(plan.resized) == plan.size


@settings(deadline=None, max_examples=200)
@given(ANY_FIT)
def test_the_whole_image_maps_to_the_whole_image_part(plan):
    (height, width), (top, left) = plan.resized, plan.origin
    whole = plan.boxes_to_model(torch.tensor([[0, 0, plan.width, plan.height]]))
    assert whole.tolist() == [[left, top, left + width, top + height]]
    assert min(top, left) >= 0
    assert max(top + height, left + width) <= plan.size


@settings(deadline=None, max_examples=200)
@given(ANY_FIT, st.floats(0, 1), st.floats(0, 1))
def test_a_point_lies_as_far_into_the_model_s_image_as_into_the_original(plan, across, down):
    original = torch.tensor([[across * plan.width - 0.5, down * plan.height - 0.5]])
    x, y = plan.points_to_model(original)[0].tolist()
    (height, width), (top, left) = plan.resized, plan.origin
    assert x + 0.5 == pytest.approx(left + across * width, abs=1e-3)
    assert y + 0.5 == pytest.approx(top + down * height, abs=1e-3)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 80), st.integers(1, 80), FITS)
def test_logits_of_the_image_part_alone_reach_the_original(height, width, fit):
    plan = ResizePlan(height, width, 64, fit)
    logits = torch.full((1, 64, 64), -1000.0)
    (h, w), (top, left) = plan.resized, plan.origin
    logits[:, top : top + h, left : left + w] = 5
    back = plan.logits_to_original(logits)
    assert back.shape == (1, height, width)
    assert back.sub(5).abs().max() < 1e-4


def test_stretching_ignores_the_aspect_ratio():
    plan = ResizePlan(height=50, width=200, size=100, fit="stretch")
    assert (plan.resized, plan.origin) == ((100, 100), (0, 0))
    assert plan.boxes_to_model(torch.tensor([[20, 10, 40, 30]])).tolist() == [[10, 20, 20, 60]]
    assert plan.boxes_to_original(torch.tensor([[10.0, 20, 20, 60]])).tolist() == [[20, 10, 40, 30]]


def test_an_image_smaller_than_the_square_is_centred_at_its_own_size():
    plan = ResizePlan(height=7, width=4, size=10, fit="center")
    # Three rows to spare: one goes above, two below, as in SAM-Med2D's padding.
    assert (plan.resized, plan.origin) == ((7, 4), (1, 3))
    assert plan.points_to_model(torch.tensor([[0, 0], [3, 6]])).tolist() == [[3, 1], [6, 7]]
    logits = torch.arange(100.0).reshape(1, 10, 10)
    assert plan.logits_to_original(logits).equal(logits[:, 1:8, 3:7])


@pytest.mark.parametrize(("height", "width"), [(10, 4), (4, 10), (11, 4), (30, 30)])
def test_an_image_that_reaches_the_square_on_one_side_is_stretched_not_centred(height, width):
    plan = ResizePlan(height, width, size=10, fit="center")
    assert (plan.resized, plan.origin) == ((10, 10), (0, 0))


def test_an_unknown_fit_is_refused():
    with pytest.raises(ValueError, match="fit must be one of pad, stretch, center, got 'crop'"):
        ResizePlan(1, 1, 1, fit="crop")


def test_pixel_centres_are_mapped():
    plan = ResizePlan(height=100, width=200, size=100)
    assert plan.resized == (50, 100)
    # Original pixels 0 and 1 together become model pixel 0: their common centre is its centre.
    points = torch.tensor([[0.5, 0.5], [0.0, 0.0], [199.0, 99.0]])
    assert plan.points_to_model(points).tolist() == [[0, 0], [-0.25, -0.25], [99.25, 49.25]]
    assert plan.points_to_original(torch.tensor([[99.0, 49.0]])).tolist() == [[198.5, 98.5]]


def test_box_edges_are_mapped():
    plan = ResizePlan(height=100, width=200, size=100)
    boxes = torch.tensor([[10, 20, 30, 40]])
    assert plan.boxes_to_model(boxes).tolist() == [[5, 10, 15, 20]]
    assert plan.boxes_to_original(torch.tensor([[5.0, 10, 15, 20]])).tolist() == [[10, 20, 30, 40]]


def test_axes_have_their_own_scale_where_the_short_side_is_rounded():
    plan = ResizePlan(height=3, width=10, size=4)  # 1.2 rows become 1
    assert plan.resized == (1, 4)
    box = plan.boxes_to_model(torch.tensor([[0, 0, 10, 3]]))
    assert box.tolist() == [[0, 0, 4, 1]]


@pytest.mark.parametrize(("height", "width"), [(64, 128), (128, 64), (96, 96)])
def test_a_known_square_comes_back_at_the_original_size(height, width):
    plan = ResizePlan(height=height, width=width, size=64)
    scale = 64 / max(height, width)
    # The square at model resolution, given at a quarter of it as a model does.
    logits = torch.full((2, 16, 16), -8.0)
    logits[1, 2:6, 2:6] = 8.0
    result = plan.logits_to_original(logits)
    assert result.shape == (2, height, width)
    assert result.dtype == torch.float32
    assert (result[0] == -8).all()
    edge = slice(round(8 / scale), round(24 / scale))
    expected = torch.zeros(height, width, dtype=torch.bool)
    expected[edge, edge] = True
    found = result[1] > 0
    # Bilinear upsampling rounds the corners off; away from them, edges are where they were.
    assert (found != expected).sum() <= 0.05 * expected.sum()
    middle = round(16 / scale)
    assert found[middle].equal(expected[middle])
    assert found[:, middle].equal(expected[:, middle])


def test_the_padding_does_not_reach_the_original():
    plan = ResizePlan(height=32, width=64, size=64)
    logits = torch.full((1, 64, 64), 5.0)
    logits[:, 32:] = -1000.0
    assert (plan.logits_to_original(logits) == 5).all()


def test_full_resolution_logits_of_a_model_sized_image_are_only_cropped():
    plan = ResizePlan(height=48, width=64, size=64)
    logits = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert plan.logits_to_original(logits).equal(logits[:, :48])


def test_no_object_gives_no_mask():
    plan = ResizePlan(height=30, width=20, size=16)
    assert plan.logits_to_original(torch.zeros(0, 4, 4)).shape == (0, 30, 20)


def test_half_precision_logits_come_back_in_float32():
    plan = ResizePlan(height=30, width=20, size=16)
    assert plan.logits_to_original(torch.zeros(1, 4, 4).bfloat16()).dtype == torch.float32


def test_a_thin_image_keeps_at_least_one_pixel():
    assert ResizePlan(height=1, width=5000, size=256).resized == (1, 256)


@pytest.mark.parametrize("sizes", [(0, 5, 4), (5, -1, 4), (5, 5, 0)])
def test_sizes_below_one_are_refused(sizes):
    with pytest.raises(ValueError, match="sizes must be positive, got ResizePlan"):
        ResizePlan(*sizes)
