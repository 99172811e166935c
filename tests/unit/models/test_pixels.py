from __future__ import annotations

import pytest
import torch

from syncsam_lightning.models.pixels import (
    check_images,
    grey_levels,
    image_part,
    normalise_as_sam,
)


def picture(*rows: list[float]) -> torch.Tensor:
    """One RGB image of three equal channels."""
    return torch.tensor(rows, dtype=torch.float32).expand(1, 3, -1, -1).clone()


def test_grey_is_the_luma_of_a_colour_stretched_to_the_image_s_range():
    images = torch.zeros(1, 3, 2, 2)
    images[0, 0, 0, 0] = images[0, 1, 0, 1] = images[0, 2, 1, 0] = 255
    grey = grey_levels(images, None)
    expected = torch.tensor([[0.299, 0.587], [0.114, 0.0]]) / 0.587
    torch.testing.assert_close(grey[0, 0], expected)


def test_each_image_has_its_own_range():
    images = torch.cat([picture([0, 50], [100, 25]), picture([200, 210], [220, 205])])
    grey = grey_levels(images.to(torch.uint8), None)
    expected = torch.tensor([[0.0, 0.5], [1.0, 0.25]])
    torch.testing.assert_close(grey, expected.expand(2, 1, 2, 2), atol=1e-6, rtol=0)


def test_padding_neither_sets_the_range_nor_keeps_its_pixels():
    images = picture([10, 20, 255], [30, 15, 0], [255, 0, 0])
    grey = grey_levels(images, torch.tensor([[2, 2]]))
    expected = torch.tensor([[0, 0.5, 0], [1, 0.25, 0], [0, 0, 0]])
    torch.testing.assert_close(grey[0, 0], expected, atol=1e-6, rtol=0)


def test_an_image_of_one_grey_level_is_all_zeros():
    for level in (0, 255):
        assert not grey_levels(torch.full((1, 3, 4, 4), level), None).any()


def test_sam_s_constants_bring_its_mean_to_zero_and_a_deviation_to_one():
    images = torch.tensor([123.675, 116.28, 103.53]).reshape(1, 3, 1, 1).repeat(1, 1, 2, 2)
    images[0, 1, 0, 1] += 57.12
    normalised = normalise_as_sam(images, None, torch.float32)
    assert normalised[0, 1, 0, 1].item() == pytest.approx(1, abs=1e-5)
    normalised[0, 1, 0, 1] = 0
    assert not normalised.any()


def test_padding_is_zero_after_normalisation():
    normalised = normalise_as_sam(picture([9, 9], [9, 9]), torch.tensor([[1, 2]]), torch.float32)
    assert normalised[0, :, 0].all()
    assert not normalised[0, :, 1].any()


def test_the_image_part_begins_at_the_top_left():
    part = image_part(torch.tensor([[1, 2], [3, 1]]), 3)
    assert part[:, 0].int().tolist() == [
        [[1, 1, 0], [0, 0, 0], [0, 0, 0]],
        [[1, 0, 0], [1, 0, 0], [1, 0, 0]],
    ]


@pytest.mark.parametrize("shape", [(2, 3, 64, 32), (2, 1, 64, 64), (3, 64, 64)])
def test_images_of_another_shape_are_refused_with_the_expected_one(shape):
    with pytest.raises(ValueError, match=r"images must be \(B, 3, 64, 64\).*image_size 64"):
        check_images(torch.zeros(shape), None, 64)


def test_sizes_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"sizes must be \(1, 2\).*got \(2,\)"):
        check_images(torch.zeros(1, 3, 8, 8), torch.tensor([8, 8]), 8)
