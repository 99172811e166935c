from __future__ import annotations

import torch

from syncsam_lightning.models.baselines.scribbleprompt.grey import grey_levels


def picture(*rows: list[float]) -> torch.Tensor:
    """One RGB image of three equal channels."""
    return torch.tensor(rows, dtype=torch.float32).expand(1, 3, -1, -1).clone()


def test_grey_is_the_luma_of_a_colour_stretched_to_the_image_s_range():
    images = torch.zeros(1, 3, 2, 2)
    images[0, 0, 0, 0] = images[0, 1, 0, 1] = images[0, 2, 1, 0] = 255
    expected = torch.tensor([[0.299, 0.587], [0.114, 0.0]]) / 0.587
    torch.testing.assert_close(grey_levels(images)[0, 0], expected)


def test_each_image_has_its_own_range_which_it_fills():
    images = torch.cat([picture([0, 50], [100, 25]), picture([200, 210], [220, 205])])
    grey = grey_levels(images.to(torch.uint8))
    expected = torch.tensor([[0.0, 0.5], [1.0, 0.25]])
    torch.testing.assert_close(grey, expected.expand(2, 1, 2, 2), atol=1e-6, rtol=0)
    assert (grey.amin().item(), grey.amax().item()) == (0, 1)


def test_an_image_of_one_grey_level_is_all_zeros():
    for level in (0, 255):
        assert not grey_levels(torch.full((1, 3, 4, 4), level)).any()
