"""Masks and images keep their place, whatever the sizes are."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from syncsam_lightning.data.resize import put_into, resize_image, resize_masks
from syncsam_lightning.geometry import Fit, ResizePlan

SIDE = 256
SIZES = [
    *((side, side) for side in (64, 100, 197, 240, 255, 257, 300, 512, 1000, 1024, 2048, 4096)),
    (480, 640), (640, 480), (64, 512), (512, 64), (2048, 100), (100, 2048), (4096, 1500),
]  # fmt: skip


def centre(mask):
    """Return x, y of an object's centre in pixels, 0 being the centre of the first."""
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean(), rows.mean()])


def discs(height, width):
    """Yield discs of four fifths of the short side, anywhere, their centres between pixels."""
    rng = np.random.default_rng(height * 5000 + width)
    radius = 0.4 * min(height, width)
    rows, columns = np.ogrid[:height, :width]
    for _ in range(100 if height * width <= 1 << 18 else 4):
        y, x = rng.uniform(radius, height - 1 - radius), rng.uniform(radius, width - 1 - radius)
        yield ((rows - y) ** 2 + (columns - x) ** 2 <= radius**2)[None]


def in_square(mask, plan):
    square = np.zeros((plan.size, plan.size), bool)
    put_into(square, resize_masks(mask, *plan.resized)[0], plan)
    return square


@pytest.mark.parametrize("fit", get_args(Fit))
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_centres_of_discs_stay_where_they_are_there_and_back(height, width, fit):
    # A disc of a few pixels is off by what its own pixels are: the mean tells of a shift.
    plan = ResizePlan(height, width, SIDE, fit)
    there, back = [], []
    for mask in discs(height, width):
        square = in_square(mask, plan)
        expected = plan.points_to_model(torch.from_numpy(centre(mask[0]))).numpy()
        there.append(centre(square) - expected)
        answer = plan.logits_to_original(torch.from_numpy(square[None] * 2.0 - 1))[0].numpy() > 0
        returned = plan.points_to_model(torch.from_numpy(centre(answer))).numpy()
        back.append(returned - expected)
    assert np.abs(np.mean(there, axis=0)).max() < 0.05
    assert np.abs(np.mean(back, axis=0)).max() < 0.05


@settings(deadline=None, max_examples=150)
@given(
    st.integers(1, 90), st.integers(1, 90), st.integers(1, 90), st.integers(1, 90), st.integers(0)
)
def test_cells_of_which_half_is_covered_are_foreground(height, width, new_height, new_width, seed):
    mask = np.random.default_rng(seed).random((1, height, width)) < 0.9
    mask |= np.roll(mask, 1, axis=2)
    shares = area(height, min(height, new_height)) @ mask[0] @ area(width, min(width, new_width)).T
    if shares.shape != (new_height, new_width):
        return
    found = resize_masks(mask, new_height, new_width)[0]
    clear = np.abs(shares - 0.5) > 1e-3
    assert (found == (shares > 0.5))[clear].all()


def area(old, new):
    """Return ``(new, old)``: which share of each new pixel each old one makes up."""
    edges, pixels = np.arange(new + 1)[:, None] * old / new, np.arange(old)
    return (np.minimum(edges[1:], pixels + 1) - np.maximum(edges[:-1], pixels)).clip(0) * new / old


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_no_object_vanishes_or_loses_half_its_area(data):
    height, width, new_height, new_width = data.draw(st.tuples(*[st.integers(1, 120)] * 4))
    mask = np.zeros((1, height, width), bool)
    pixels = st.tuples(st.integers(0, height - 1), st.integers(0, width - 1))
    for row, column in data.draw(st.lists(pixels, min_size=1, max_size=8)):
        mask[0, row, column] = True
    found = np.count_nonzero(resize_masks(mask, new_height, new_width))
    assert found >= max(1, mask.sum() * (new_height * new_width) / (height * width) / 2 - 0.5)


@pytest.mark.parametrize("side", [512, 1024, 2048, 4096])
@pytest.mark.parametrize("thickness", [1, 2, 3])
@pytest.mark.parametrize("vertical", [False, True])
def test_a_thin_line_keeps_its_length_and_place(side, thickness, vertical):
    mask = np.zeros((1, side, side), bool)
    begin = side // 3 + 1
    mask[0, begin : begin + thickness, side // 8 : side // 2] = True
    if vertical:
        mask = mask.transpose(0, 2, 1)
    found = resize_masks(mask, SIDE, SIDE)
    columns = np.flatnonzero((found[0].T if vertical else found[0]).any(axis=0))
    assert columns.max() - columns.min() > 0.8 * SIDE * 3 / 8
    expected = (centre(mask[0]) + 0.5) * SIDE / side - 0.5
    assert np.abs(centre(found[0]) - expected).max() < 0.8
    area = mask.sum() * (SIDE / side) ** 2
    assert 0.9 * area <= found.sum() <= 2.1 * area


@pytest.mark.parametrize("radius", [1, 2, 3])
@pytest.mark.parametrize("side", [512, 1024, 2048, 4096])
def test_a_small_disc_is_still_there_within_half_a_pixel(side, radius):
    rows, columns = np.ogrid[:side, :side]
    for x, y in np.random.default_rng(radius).integers(radius, side - radius, (8, 2)):
        mask = ((rows - y) ** 2 + (columns - x) ** 2 <= radius**2)[None]
        found = resize_masks(mask, SIDE, SIDE)[0]
        expected = (np.array([x, y]) + 0.5) * SIDE / side - 0.5
        assert np.abs(centre(found) - expected).max() <= 0.6
        assert found.sum() >= max(1, mask.sum() * (SIDE / side) ** 2 / 2)


def test_what_a_small_part_of_an_object_loses_does_not_thicken_the_rest():
    mask = np.zeros((1, 64, 64), bool)
    mask[0, 8:40, 8:40] = True
    square = mask.copy()
    mask[0, 60, 4:60] = True
    np.testing.assert_array_equal(resize_masks(mask, 16, 16), resize_masks(square, 16, 16))


def test_an_empty_mask_stays_empty():
    assert not resize_masks(np.zeros((2, 40, 30), bool), 7, 50).any()


def test_sides_that_shrink_are_averaged_though_the_other_grows():
    stripes = np.zeros((2048, 100, 1), np.uint8)
    stripes[::2] = 255
    resized = resize_image(stripes, 256, 256)
    assert np.isin(resized, (127, 128)).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_of_either_kind_keeps_its_axes(channels):
    image = np.zeros((40, 30, channels), np.uint8)
    assert resize_image(image, 20, 60).shape == (20, 60, channels)
    assert resize_image(image, 40, 30) is image
