"""The protocols of SAM-Med2D and IMIS-Bench, rule by rule; their scoring is tested in evaluation.

Each test is a row of the table in ``docs/evaluation.md``.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from syncsam_lightning.interaction import dense_prompt, get_protocol, predicted_masks, run_rounds
from syncsam_lightning.prompts import PADDING


def play(name, targets, decode=None):
    generator = torch.Generator().manual_seed(1)
    answer = decode or (lambda prompts: torch.randn(prompts.num_objects, 8, 8, generator=generator))
    return list(run_rounds(answer, targets, get_protocol(name).policy()))


@pytest.fixture
def two_parts(targets):
    """The targets, the first of which gets a second, smaller part far from the first."""
    targets.masks[0, 26:28, 20:22] = True
    return targets


def test_box_of_sammed2d_is_that_of_the_largest_component_half_open(two_parts):
    (turn,) = play("sammed2d-box", two_parts)
    assert turn.prompts.kinds == {"boxes"}
    assert turn.prompts.boxes[0].tolist() == [2, 4, 14, 16]
    assert turn.prompts.boxes[4].tolist() == [3, 3, 4, 4]


def test_box_of_imis_is_that_of_all_foreground_up_to_its_last_pixel(two_parts):
    (turn,) = play("imis-box", two_parts)
    assert turn.prompts.kinds == {"boxes"}
    assert turn.prompts.boxes[0].tolist() == [2, 4, 21, 27]
    assert turn.prompts.boxes[4].tolist() == [3, 3, 3, 3]


def test_boxes_follow_from_the_mask_at_the_resolution_of_the_model(targets):
    # The original's box, which a table keeps, may be a fraction of a model pixel off.
    targets.boxes[:] += 0.25
    for name, corner in (("sammed2d-box", 14), ("imis-box", 13)):
        (turn,) = play(name, targets)
        assert turn.prompts.boxes[0].tolist() == [2, 4, corner, corner + 2]


def first_clicks(name, targets, draws=300):
    """Where the first object is clicked with many keys."""
    many = type(targets)(
        masks=targets.masks[:1].expand(draws, -1, -1),
        boxes=targets.boxes[:1].expand(draws, -1),
        image_index=torch.zeros(draws, dtype=torch.int64),
        keys=torch.arange(draws),
        sizes=targets.sizes,
    )
    turn = play(name, many)[0]
    assert turn.prompts.kinds == {"points"}
    assert (turn.prompts.point_labels == 1).all()
    return turn.prompts.points[:, 0]


def test_first_point_of_sammed2d_is_anywhere_on_the_object(targets):
    points = first_clicks("sammed2d-1pt", targets)
    far = (points - torch.tensor([7.5, 9.5])).abs().amax(dim=1)
    assert (far <= 5.5).all()
    assert (far > 5).any()


def test_first_point_of_imis_is_on_the_half_around_the_centroid(targets):
    points = first_clicks("imis-1pt", targets)
    distances = (points - torch.tensor([7.5, 9.5])).norm(dim=1)
    # 72 of 144 pixels: a disc of that area.
    assert distances.max() <= (72 / torch.pi) ** 0.5 + 0.5
    assert distances.max() > 4


@pytest.mark.parametrize("prefix", ["sammed2d-", "imis-"])
def test_5pts_is_one_click_and_four_corrections(prefix, targets):
    turns = play(f"{prefix}5pts", targets)
    assert len(turns) == 5
    first = play(f"{prefix}1pt", targets)[0].prompts
    assert turns[0].prompts.points.equal(first.points)
    for previous, turn in pairwise(turns):
        x, y = turn.prompts.points[:, -1].long().unbind(1)
        wrong = predicted_masks(previous.logits, 32) ^ targets.masks
        objects = torch.arange(5)
        assert wrong[objects, y, x].all()
        assert turn.prompts.point_labels[:, -1].equal(targets.masks[objects, y, x].long())


def test_later_points_of_sammed2d_come_on_top_of_all_earlier_ones(targets):
    turns = play("sammed2d-5pts", targets)
    assert [turn.prompts.num_points for turn in turns] == [1, 2, 3, 4, 5]
    for previous, turn in pairwise(turns):
        assert turn.prompts.points[:, :-1].equal(previous.prompts.points)


def test_later_points_of_imis_replace_all_earlier_prompts(targets):
    turns = play("imis-5pts", targets)
    assert [turn.prompts.num_points for turn in turns] == [1, 1, 1, 1, 1]
    assert all(turn.prompts.kinds == {"points", "masks"} for turn in turns[1:])
    for previous, turn in pairwise(turns):
        assert not turn.prompts.points.equal(previous.prompts.points)


@pytest.mark.parametrize(("prefix", "rule"), [("sammed2d-", "sigmoid"), ("imis-", "logits")])
def test_the_previous_answer_is_fed_back_by_the_rule(prefix, rule, targets):
    turns = play(f"{prefix}5pts", targets)
    for previous, turn in pairwise(turns):
        assert turn.prompts.mask_logits.equal(dense_prompt(previous.logits, rule))
    in_range = all(
        ((t.prompts.mask_logits > 0) & (t.prompts.mask_logits < 1)).all() for t in turns[1:]
    )
    assert in_range == (rule == "sigmoid")


@pytest.mark.parametrize("prefix", ["sammed2d-", "imis-"])
def test_without_an_error_the_point_says_that_it_is_none(prefix, targets):
    perfect = targets.masks.float() * 2 - 1
    turns = play(f"{prefix}5pts", targets, lambda _: perfect)
    assert all((turn.prompts.point_labels[:, -1] == PADDING).all() for turn in turns[1:])


def test_what_a_model_must_take_and_whether_a_seed_matters_follows_from_the_rounds():
    for prefix in ("", "sammed2d-", "imis-"):
        box, one, five = (get_protocol(prefix + name) for name in ("box", "1pt", "5pts"))
        assert (box.kinds, box.is_random) == ({"boxes"}, False)
        assert (one.kinds, one.is_random) == ({"points"}, True)
        assert (five.kinds, five.is_random) == ({"points", "masks"}, True)
