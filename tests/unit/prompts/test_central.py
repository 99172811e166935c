"""Central clicks lie on the half of an object that is nearest to its centroid."""

from __future__ import annotations

import torch

from syncsam_lightning.prompts import FOREGROUND, PADDING, central_clicks

MANY = 400


def clicked(mask: torch.Tensor, draws: int = MANY) -> set[tuple[int, int]]:
    """Every pixel that many objects of one shape, with keys of their own, are clicked on."""
    clicks = central_clicks(mask.expand(draws, -1, -1), torch.arange(draws), draw=0)
    assert (clicks.labels == FOREGROUND).all()
    return {(int(x), int(y)) for x, y in clicks.points[:, 0]}


def nearest_half(mask: torch.Tensor) -> set[tuple[int, int]]:
    """The rule, written down once more in floating point."""
    y, x = mask.nonzero().double().unbind(1)
    distance = (y - y.mean()) ** 2 + (x - x.mean()) ** 2
    half = distance.argsort(stable=True)[: len(x) // 2]
    return {(int(x[i]), int(y[i])) for i in half}


def test_the_nearer_half_is_clicked_and_all_of_it():
    mask = torch.zeros(16, 16, dtype=torch.bool)
    mask[2:7, 3:14] = True
    mask[7:15, 3:6] = True  # an L, whose centroid is not that of its box
    assert clicked(mask) == nearest_half(mask)


def test_an_object_with_a_hole_is_never_clicked_in_the_hole():
    mask = torch.ones(9, 9, dtype=torch.bool)
    mask[3:6, 3:6] = False
    assert all(mask[y, x] for x, y in clicked(mask))


def test_the_smallest_objects_are_clicked_on_a_pixel_of_theirs():
    for size in (1, 2, 3):
        mask = torch.zeros(4, 4, dtype=torch.bool)
        mask[1, :size] = True
        assert clicked(mask, draws=20) <= {(x, 1) for x in range(size)}
        assert len(clicked(mask, draws=20)) == 1


def test_an_empty_mask_gets_padding_and_moves_no_other_click():
    masks = torch.zeros(3, 8, 8, dtype=torch.bool)
    masks[0, 2:6, 2:6] = masks[2, 1:4, 1:7] = True
    keys = torch.tensor([5, 6, 7])
    together = central_clicks(masks, keys, draw=0)
    assert together.labels[:, 0].tolist() == [FOREGROUND, PADDING, FOREGROUND]
    assert together.points[1].tolist() == [[0, 0]]
    for i in (0, 2):
        alone = central_clicks(masks[i : i + 1], keys[i : i + 1], draw=0)
        assert alone.points[0].equal(together.points[i])
    nothing = central_clicks(torch.zeros(2, 4, 4, dtype=torch.bool), keys[:2], draw=0)
    assert (nothing.labels == PADDING).all()
    assert nothing.points.shape == (2, 1, 2)
    assert central_clicks(masks[:0], keys[:0], draw=0).points.shape == (0, 1, 2)


def test_another_draw_is_another_click():
    masks = torch.ones(1, 64, 64, dtype=torch.bool)
    points = [central_clicks(masks, torch.tensor([3]), draw=draw).points for draw in (0, 1)]
    assert not points[0].equal(points[1])


def test_distances_are_exact_in_the_largest_square():
    mask = torch.ones(1, 1024, 1024, dtype=torch.bool)
    points = central_clicks(mask.expand(3, -1, -1), torch.arange(3), draw=0).points[:, 0]
    # Half of the square's area is a disc around its centre.
    radius = (1024**2 / 2 / torch.pi) ** 0.5
    assert ((points - 511.5).norm(dim=1) <= radius + 1).all()
