"""Components are those that touch by an edge or a corner."""

from __future__ import annotations

import pytest
import torch

from syncsam_lightning.geometry import largest_components


def mask(*rows: str) -> torch.Tensor:
    return torch.tensor([[[c == "#" for c in row] for row in rows]])


def test_the_largest_component_is_kept_whole_and_alone():
    masks = mask("##...", "##..#", "....#", ".....")
    assert largest_components(masks).equal(mask("##...", "##...", ".....", "....."))


def test_pixels_that_touch_at_a_corner_belong_together():
    masks = mask("#..##", ".#...", "..#..", ".....")
    assert largest_components(masks).equal(mask("#....", ".#...", "..#..", "....."))


def test_of_equal_components_the_first_in_reading_order_is_kept():
    masks = mask("...##", "##...", ".....")
    assert largest_components(masks).equal(mask("...##", ".....", "....."))


def test_masks_are_looked_at_one_by_one_and_empty_ones_stay_empty():
    masks = torch.cat([mask("#.##"), mask("...."), mask("##.#")])
    assert largest_components(masks).equal(torch.cat([mask("..##"), mask("...."), mask("##..")]))
    assert largest_components(masks[:0]).shape == (0, 1, 4)


def test_a_single_image_is_refused():
    with pytest.raises(ValueError, match=r"masks must be \(N, H, W\), got \(4, 4\)"):
        largest_components(torch.zeros(4, 4, dtype=torch.bool))
