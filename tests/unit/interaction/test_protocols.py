from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from syncsam_lightning.interaction import PROTOCOLS, get_protocol, predicted_masks, run_rounds


def play(name, targets, decode):
    return list(run_rounds(decode, targets, get_protocol(name).policy()))


def nothing_found(prompts):
    return torch.full((prompts.num_objects, 8, 8), -1.0)


def test_the_protocols_are_known_by_name_and_version():
    versions = {name: protocol.version for name, protocol in PROTOCOLS.items()}
    assert versions == {
        "box": 2,
        "1pt": 2,
        "5pts": 3,
        **{
            f"{system}-{step}": 2
            for system in ("sammed2d", "imis")
            for step in ("box", "1pt", "5pts")
        },
    }
    assert all(get_protocol(name).name == name for name in PROTOCOLS)


def test_an_unknown_protocol_lists_the_choices():
    with pytest.raises(
        ValueError, match="unknown protocol '3pts'; choose from box, 1pt, 5pts, sammed2d"
    ):
        get_protocol("3pts")


def test_the_list_of_protocols_cannot_be_changed():
    with pytest.raises(TypeError):
        PROTOCOLS["mine"] = PROTOCOLS["box"]


def test_box_gives_the_tight_box_once(targets):
    (turn,) = play("box", targets, nothing_found)
    assert turn.prompts.kinds == {"boxes"}
    assert turn.prompts.boxes.equal(targets.boxes)


def test_1pt_gives_one_click_on_the_object(targets):
    (turn,) = play("1pt", targets, nothing_found)
    assert turn.prompts.kinds == {"points"}
    x, y = turn.prompts.points[:, 0].long().unbind(1)
    assert targets.masks[torch.arange(5), y, x].all()


def test_5pts_begins_with_the_click_of_1pt(targets):
    first = play("5pts", targets, nothing_found)[0].prompts
    assert first.points.equal(play("1pt", targets, nothing_found)[0].prompts.points)


def test_5pts_adds_one_correction_a_round_to_all_clicks_and_feeds_logits_back(targets):
    generator = torch.Generator().manual_seed(1)
    turns = play("5pts", targets, lambda _: torch.randn(5, 8, 8, generator=generator))
    assert [turn.prompts.num_points for turn in turns] == [1, 2, 3, 4, 5]
    for previous, turn in pairwise(turns):
        assert turn.prompts.kinds == {"points", "masks"}
        assert turn.prompts.points[:, :-1].equal(previous.prompts.points)
        assert turn.prompts.point_labels[:, :-1].equal(previous.prompts.point_labels)
        assert turn.prompts.mask_logits.equal(previous.logits)
        x, y = turn.prompts.points[:, -1].long().unbind(1)
        objects = torch.arange(5)
        wrong = predicted_masks(previous.logits, 32) ^ targets.masks
        assert wrong[objects, y, x].all()
        assert turn.prompts.point_labels[:, -1].equal(targets.masks[objects, y, x].long())


def test_corrections_of_one_object_differ_from_round_to_round(targets):
    last = play("5pts", targets, nothing_found)[-1].prompts.points[3]
    assert len({tuple(point) for point in last.tolist()}) == 5


def test_once_nothing_is_wrong_the_clicks_are_padding_and_the_rounds_go_on(targets):
    perfect = targets.masks.float() * 2 - 1
    turns = play("5pts", targets, lambda _: perfect)
    assert len(turns) == 5
    assert turns[-1].prompts.point_labels.tolist() == [[1, -1, -1, -1, -1]] * 5


def test_clicks_that_mend_their_pixel_come_closer_to_the_truth(targets):
    # A model that learns from each click the 4 x 4 cell around it, and nothing else.
    truth = F.max_pool2d(targets.masks[:, None].float(), 4)[:, 0] * 2 - 1

    def decode(prompts):
        answer = torch.full((5, 8, 8), -1.0)
        cells = (prompts.points / 4).long()
        for i in range(5):
            for (x, y), label in zip(cells[i], prompts.point_labels[i], strict=True):
                if label >= 0:
                    answer[i, y, x] = truth[i, y, x]
        return answer

    wrong = [(turn.logits > 0).ne(truth > 0).sum().item() for turn in play("5pts", targets, decode)]
    assert all(later < earlier for earlier, later in pairwise(wrong))


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_the_number_of_rounds_is_known_beforehand(name, targets):
    protocol = get_protocol(name)
    assert protocol.num_rounds == protocol.policy().num_rounds
    assert protocol.num_rounds == len(play(name, targets, nothing_found))


def test_an_answer_is_given_back_as_the_model_expects_it():
    """SAM-Med2D was trained on probabilities: logits would make its corrections worse."""
    for name, expected in (
        ("5pts", "sigmoid"),
        ("sammed2d-5pts", "sigmoid"),
        ("imis-5pts", "logits"),
    ):
        assert get_protocol(name).policy("sigmoid").feedback == expected
    assert get_protocol("5pts").policy("logits").feedback == "logits"
    assert get_protocol("sammed2d-5pts").policy("logits").feedback == "sigmoid"
