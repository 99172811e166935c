from __future__ import annotations

import pytest
import torch
from torch import Tensor

from syncsam_lightning.errors import InvalidPromptError
from syncsam_lightning.geometry import ResizePlan
from syncsam_lightning.interaction import InteractiveSession, Round, get_protocol, run_rounds
from syncsam_lightning.prompts import Prompts, Targets

SIDE = 32
PLAN = ResizePlan(height=40, width=64, size=SIDE)  # 20 rows of the square


class Listening:
    """Answers as a function of all it is told, so that different prompts get different answers."""

    def __init__(self) -> None:
        self.asked: list[Prompts] = []

    def __call__(self, prompts: Prompts) -> Tensor:
        self.asked.append(prompts)
        place = torch.arange(SIDE // 4) * 4 + 1.5
        answer = torch.full((prompts.num_objects, SIDE // 4, SIDE // 4), -1.0)
        if prompts.boxes is not None:
            x0, y0, x1, y1 = prompts.boxes.T[..., None]
            inside = ((place > y0) & (place < y1))[:, :, None] & ((place > x0) & (place < x1))[
                :, None
            ]
            answer = answer + 1.7 * inside
        if prompts.points is not None and prompts.point_labels is not None:
            for number in range(prompts.points.shape[1]):
                x, y = prompts.points[:, number].T[..., None, None]
                far = (place[None, :, None] - y) ** 2 + (place[None, None, :] - x) ** 2
                sign = prompts.point_labels[:, number, None, None]
                answer = answer + (sign * 2 - 1) * (sign >= 0) * 3 * torch.exp(-far / 40)
        if prompts.mask_logits is not None:
            answer = answer + 0.3 * prompts.mask_logits
        return answer


@pytest.fixture
def one_object() -> Targets:
    """An object on an image of 20 rows in a square of 32."""
    masks = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    masks[0, 3:15, 6:22] = True
    return Targets(
        masks=masks,
        boxes=torch.tensor([[6.0, 3, 22, 15]]),
        image_index=torch.tensor([0]),
        keys=torch.tensor([271828]),
        sizes=torch.tensor([PLAN.resized]),
        origins=torch.tensor([PLAN.origin]),
    )


@pytest.mark.parametrize("name", ["box", "1pt", "5pts"])
def test_a_person_who_clicks_like_the_simulated_user_gets_the_same_masks(
    name: str, one_object: Targets
):
    played = list(run_rounds(Listening(), one_object, get_protocol(name).policy()))
    session = InteractiveSession(Listening(), PLAN)
    for simulated in played:
        prompts = simulated.prompts
        if prompts.boxes is not None:
            turn = session.box(PLAN.boxes_to_original(prompts.boxes))
        else:
            assert prompts.points is not None
            assert prompts.point_labels is not None
            new = slice(0 if not session.history else session_points(session), None)
            turn = session.click(
                PLAN.points_to_original(prompts.points[:, new]), prompts.point_labels[:, new]
            )
        assert_same_turn(turn, simulated)
        masks = PLAN.logits_to_original(turn.logits) > 0
        assert masks.equal(PLAN.logits_to_original(simulated.logits) > 0)
    assert len(session.history) == len(played)


def session_points(session: InteractiveSession) -> int:
    return session.history[-1].prompts.num_points


def assert_same_turn(ours: Round, theirs: Round) -> None:
    assert ours.index == theirs.index
    assert ours.logits.equal(theirs.logits)
    for name in ("boxes", "points", "point_labels", "mask_logits", "image_index"):
        mine, other = getattr(ours.prompts, name), getattr(theirs.prompts, name)
        assert (mine is None) == (other is None), name
        assert mine is None or mine.equal(other), name


def point(x: float, y: float) -> Tensor:
    return torch.tensor([[[x, y]]])


YES, NO = torch.tensor([[1]]), torch.tensor([[0]])


def test_undo_and_redo_walk_through_an_immutable_history():
    session = InteractiveSession(Listening(), PLAN)
    first = session.box(torch.tensor([[4.0, 4, 30, 30]]))
    one = session.history
    second = session.click(point(40, 20), YES)
    assert session.history == (first, second)
    assert one == (first,)
    assert session.undo() is first
    assert session.can_redo
    assert session.redo() is second
    assert session.undo() is first
    assert session.undo() is None
    assert session.logits is None
    assert session.redo() is first


def test_after_an_undo_the_turn_that_was_taken_back_leaves_no_trace():
    session = InteractiveSession(Listening(), PLAN)
    session.click(point(10, 10), YES)
    session.click(point(40, 20), NO)
    session.undo()
    again = session.click(point(50, 5), YES)
    fresh = InteractiveSession(Listening(), PLAN)
    fresh.click(point(10, 10), YES)
    assert_same_turn(again, fresh.click(point(50, 5), YES))
    with pytest.raises(InvalidPromptError, match="nothing to redo"):
        session.redo()


def test_a_correction_shows_all_clicks_and_the_last_answer_but_not_the_box():
    decode = Listening()
    session = InteractiveSession(decode, PLAN)
    session.box(torch.tensor([[4.0, 4, 30, 30]]))
    session.click(point(10, 10), YES)
    before = session.logits
    session.click(point(40, 20), NO)
    asked = decode.asked[-1]
    assert asked.boxes is None
    assert asked.point_labels.tolist() == [[1, 0]]
    assert asked.mask_logits.equal(before)


def test_a_click_knows_nothing_of_the_clicks_before_the_last_prompt():
    decode = Listening()
    session = InteractiveSession(decode, PLAN)
    session.click(point(10, 10), NO)
    session.box(torch.tensor([[20.0, 12, 36, 30]]))
    session.click(point(28, 20), YES)
    fresh = InteractiveSession(Listening(), PLAN)
    fresh.box(torch.tensor([[20.0, 12, 36, 30]]))
    expected = fresh.click(point(28, 20), YES)
    assert session.history[-1].logits.equal(expected.logits)
    assert decode.asked[-1].point_labels.tolist() == [[1]]

    again = session.click(point(30, 22), NO)
    assert again.prompts.point_labels.tolist() == [[1, 0]]


def test_undo_and_redo_bring_the_clicks_of_their_own_prompt_back():
    session = InteractiveSession(Listening(), PLAN)
    session.click(point(10, 10), YES)
    session.box(torch.tensor([[20.0, 12, 36, 30]]))
    session.undo()
    with_first = session.click(point(12, 10), NO)
    assert with_first.prompts.point_labels.tolist() == [[1, 0]]
    session.undo()
    session.undo()
    session.box(torch.tensor([[20.0, 12, 36, 30]]))
    session.click(point(28, 20), NO)
    session.undo()
    session.redo()
    assert session.click(point(30, 22), YES).prompts.point_labels.tolist() == [[0, 1]]


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1)])
def test_another_number_of_objects_can_be_clicked_after_a_new_prompt(before: int, after: int):
    session = InteractiveSession(Listening(), PLAN)
    boxes = torch.tensor([[4.0, 4, 30, 30], [5, 5, 20, 20]])
    points, labels = torch.tensor([[[10.0, 10]], [[12, 9]]]), torch.tensor([[1], [1]])
    session.box(boxes[:before])
    session.click(points[:before], labels[:before])
    session.box(boxes[:after])
    turn = session.click(points[:after], labels[:after])
    assert turn.prompts.points.shape == (after, 1, 2)
    assert len(turn.logits) == after


def test_without_feedback_no_mask_is_shown():
    decode = Listening()
    session = InteractiveSession(decode, PLAN, feedback=None)
    session.click(point(10, 10), YES)
    session.click(point(40, 20), NO)
    assert decode.asked[-1].mask_logits is None


def test_a_click_for_another_number_of_objects_is_refused():
    session = InteractiveSession(Listening(), PLAN)
    session.box(torch.tensor([[4.0, 4, 30, 30], [5, 5, 20, 20]]))
    with pytest.raises(InvalidPromptError, match=r"1 objects, but .* 2"):
        session.click(point(1, 1), YES)
    assert len(session.history) == 1


def test_a_turn_that_the_model_refuses_did_not_happen():
    def refuse(prompts: Prompts) -> Tensor:
        raise RuntimeError("out of memory")

    session = InteractiveSession(Listening(), PLAN)
    session.click(point(1, 1), YES)
    session.click(point(9, 1), YES)
    session.undo()
    session._decode = refuse
    with pytest.raises(RuntimeError, match="memory"):
        session.click(point(2, 2), YES)
    assert len(session.history) == 1
    assert session.can_redo


@pytest.mark.parametrize(("x", "y"), [(0, 0), (63, 39), (63.4, 39.4)])
def test_every_pixel_can_be_clicked(x: float, y: float):
    InteractiveSession(Listening(), PLAN).click(point(x, y), YES)


@pytest.mark.parametrize(("x", "y"), [(64, 0), (0, 40), (-1, 0), (float("nan"), 0)])
def test_what_lies_outside_cannot_be_clicked(x: float, y: float):
    with pytest.raises(InvalidPromptError, match="x goes from 0 to 63, y from 0 to 39"):
        InteractiveSession(Listening(), PLAN).click(point(x, y), YES)


def test_a_padding_point_may_lie_anywhere():
    points = torch.tensor([[[1.0, 2], [-5, 1000]]])
    InteractiveSession(Listening(), PLAN).click(points, torch.tensor([[1, -1]]))


def test_an_object_of_nothing_but_padding_is_told():
    points, labels = torch.ones(2, 1, 2), torch.tensor([[1], [-1]])
    session = InteractiveSession(Listening(), PLAN)
    with pytest.raises(InvalidPromptError, match=r"object 1 \(counted from 0\) has no prompt"):
        session.click(points, labels)
    assert session.history == ()
    session.prompt(points=points, labels=labels, boxes=torch.tensor([[1.0, 2, 9, 9]] * 2))
    session.click(points, labels)  # its last answer is a prompt


def test_forgetting_leaves_the_image():
    session = InteractiveSession(Listening(), PLAN)
    session.click(point(1, 1), YES)
    session.reset()
    assert session.history == ()
    with pytest.raises(InvalidPromptError, match="nothing to undo"):
        session.undo()


def test_answers_are_outside_the_graph():
    scale = torch.tensor(2.0, requires_grad=True)
    session = InteractiveSession(lambda prompts: scale * Listening()(prompts), PLAN)
    assert not session.click(point(1, 1), YES).logits.requires_grad
