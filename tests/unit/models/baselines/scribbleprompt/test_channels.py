from __future__ import annotations

import pytest
import torch

from syncsam_lightning.models.baselines.scribbleprompt.channels import (
    draw_boxes,
    draw_clicks,
    prompt_channels,
)
from syncsam_lightning.prompts import Prompts


def box_pixels(*box: float, side: int = 8) -> tuple[slice, slice] | None:
    """Rows and columns that a box fills, after checking that it fills a whole rectangle."""
    drawn = draw_boxes(torch.tensor([box]), side)[0]
    if not drawn.any():
        return None
    rows, columns = drawn.any(1).nonzero().flatten(), drawn.any(0).nonzero().flatten()
    span = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    assert drawn[span].all()
    assert drawn.sum() == drawn[span].numel()
    return span


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        ((2, 1, 5, 4), (1, 4), (2, 5)),  # whole numbers: half open, as published
        ((0, 0, 8, 8), (0, 8), (0, 8)),
        ((1.4, 1.5, 4.5, 4.4), (2, 4), (1, 5)),  # halves are rounded up
        ((3.1, 3.1, 3.2, 3.2), (3, 4), (3, 4)),  # too small to contain a pixel's centre
        ((7.6, 7.6, 8, 8), (7, 8), (7, 8)),
        ((-3, -3, 2, 2), (0, 2), (0, 2)),
        ((6, 6, 30, 30), (6, 8), (6, 8)),
    ],
)
def test_a_box_fills_the_pixels_between_its_rounded_edges(box, rows, columns):
    assert box_pixels(*box) == (slice(*rows), slice(*columns))


def test_an_empty_box_fills_nothing():
    assert box_pixels(0, 0, 0, 0) is None
    assert box_pixels(3, 3, 3, 7) is None


def marks(points: list[list[float]], labels: list[int], side: int = 4) -> tuple[list, list]:
    foreground, background = draw_clicks(torch.tensor([points]), torch.tensor([labels]), side)
    return foreground[0].nonzero().tolist(), background[0].nonzero().tolist()


def test_a_click_marks_one_pixel_of_the_channel_of_its_label():
    assert marks([[3.0, 1.0], [0.0, 2.0]], [1, 0]) == ([[1, 3]], [[2, 0]])


def test_clicks_between_pixels_are_rounded_and_those_outside_go_to_the_border():
    assert marks([[1.4, 1.5], [-0.4, 9.0]], [1, 1]) == ([[2, 1], [3, 0]], [])


def test_padding_leaves_no_mark():
    assert marks([[0.0, 0.0], [2.0, 2.0]], [-1, 1]) == ([[2, 2]], [])
    assert marks([[1.0, 1.0], [1.0, 1.0]], [1, -1]) == ([[1, 1]], [])


def test_of_two_clicks_on_one_pixel_the_later_one_counts():
    assert marks([[1.0, 2.0], [1.0, 2.0]], [1, 0]) == ([], [[2, 1]])
    assert marks([[1.0, 2.0], [1.0, 2.0]], [0, 1]) == ([[2, 1]], [])
    assert marks([[1.0, 2.0]] * 3, [1, 0, 1]) == ([[2, 1]], [])


def test_channels_come_in_the_published_order_and_what_is_not_given_is_zero():
    index, logits = torch.zeros(1, dtype=torch.long), torch.full((1, 4, 4), -7.0)
    box = prompt_channels(Prompts(index, boxes=torch.tensor([[0.0, 0, 2, 2]])), 4)[0]
    assert [channel.sum().item() for channel in box] == [4, 0, 0, 0]
    points = torch.tensor([[[0.0, 0], [1, 1], [2, 2]]])
    clicks = Prompts(index, points=points, point_labels=torch.tensor([[1, 0, 0]]))
    assert [channel.sum().item() for channel in prompt_channels(clicks, 4)[0]] == [0, 1, 2, 0]
    answer = prompt_channels(Prompts(index, mask_logits=logits), 4)[0]
    assert not answer[:3].any()
    assert torch.equal(answer[3], logits[0])


def test_every_object_has_its_own_channels():
    prompts = Prompts(
        torch.tensor([0, 0, 1]),
        boxes=torch.tensor([[0.0, 0, 1, 1], [1, 1, 4, 4], [2, 0, 3, 4]]),
        points=torch.tensor([[[0.0, 0], [1, 1]], [[3, 3], [3, 3]], [[0, 2], [0, 0]]]),
        point_labels=torch.tensor([[1, 0], [1, 1], [0, -1]]),
        mask_logits=torch.arange(48.0).reshape(3, 4, 4),
    )
    together = prompt_channels(prompts, 4)
    alone = [prompt_channels(prompts[i : i + 1], 4) for i in range(3)]
    assert torch.equal(together, torch.cat(alone))


def test_a_previous_mask_of_another_size_is_refused_with_the_expected_one():
    prompts = Prompts(torch.tensor([0]), mask_logits=torch.zeros(1, 2, 2))
    with pytest.raises(ValueError, match=r"mask_logits must be \(1, 8, 8\), got \(1, 2, 2\)"):
        prompt_channels(prompts, 8)
