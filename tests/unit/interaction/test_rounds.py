from __future__ import annotations

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from syncsam_lightning.interaction import (
    Round,
    TrainingEpisode,
    dense_prompt,
    get_protocol,
    predicted_masks,
    run_rounds,
)
from syncsam_lightning.prompts import Prompts, Targets


class NoisyTruth(nn.Module):
    """Answers with the truth, scaled by a parameter, plus an error that differs each time."""

    def __init__(self, targets: Targets) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(4.0))
        truth = F.avg_pool2d(targets.masks[:, None].float(), 4)[:, 0]
        self.register_buffer("truth", truth * 2 - 1)
        self.generator = torch.Generator().manual_seed(0)
        self.asked: list[Prompts] = []

    def forward(self, prompts: Prompts) -> Tensor:
        self.asked.append(prompts)
        noise = torch.randn(self.truth.shape, generator=self.generator)
        return self.scale * self.truth + 3 * noise


def test_each_round_is_decoded_only_when_it_is_asked_for(targets):
    decode = NoisyTruth(targets)
    rounds = run_rounds(decode, targets, get_protocol("5pts").policy())
    assert decode.asked == []
    for index in range(5):
        turn = next(rounds)
        assert turn.index == index
        assert len(decode.asked) == index + 1
        assert turn.prompts is decode.asked[-1]
    with pytest.raises(StopIteration):
        next(rounds)


def test_the_optimiser_may_step_between_rounds(targets):
    decode = NoisyTruth(targets)
    optimizer = torch.optim.SGD(decode.parameters(), lr=0.1)
    scales = []
    for turn in run_rounds(decode, targets, get_protocol("5pts").policy()):
        scales.append(decode.scale.item())
        optimizer.zero_grad()
        turn.logits.mean().backward()
        optimizer.step()
    assert len(set(scales)) == 5


def test_prompts_are_outside_the_graph_and_logits_inside(targets):
    decode = NoisyTruth(targets)
    for turn in run_rounds(decode, targets, TrainingEpisode(iterations=4).policy(1)):
        assert turn.logits.requires_grad
        for tensor in (turn.prompts.points, turn.prompts.boxes, turn.prompts.mask_logits):
            assert tensor is None or not tensor.requires_grad


def test_a_round_s_gradient_reaches_the_model_through_its_own_decode_alone(targets):
    # The answer is scale * (1 + what was fed back): were feedback not detached, round 1 would be
    # quadratic in scale.
    scale = torch.tensor(2.0, requires_grad=True)

    def decode(prompts: Prompts) -> Tensor:
        feedback = 0.0 if prompts.mask_logits is None else prompts.mask_logits
        return scale * (1 + feedback) * torch.ones(5, 8, 8)

    policy = get_protocol("5pts").policy()
    first, second, *_ = run_rounds(decode, targets, policy)
    (gradient,) = torch.autograd.grad(second.logits[0, 0, 0], scale)
    assert first.logits[0, 0, 0] == 2
    assert second.logits[0, 0, 0] == 6
    assert gradient == 3


def test_feedback_is_the_previous_answer(targets):
    turns = list(run_rounds(NoisyTruth(targets), targets, get_protocol("5pts").policy()))
    assert turns[0].prompts.mask_logits is None
    for previous, turn in pairwise(turns):
        assert turn.prompts.mask_logits.equal(previous.logits.detach())


def test_feedback_through_a_sigmoid_holds_probabilities(targets):
    policy = TrainingEpisode(iterations=3, feedback="sigmoid").policy(0)
    turns = list(run_rounds(NoisyTruth(targets), targets, policy))
    for previous, turn in pairwise(turns):
        assert turn.prompts.mask_logits.equal(previous.logits.detach().sigmoid())


def test_the_history_that_a_policy_sees_is_detached_and_complete(targets):
    seen: list[list[Round]] = []

    class Watcher:
        num_rounds = 3

        def next_prompts(self, targets, history):
            assert not torch.is_grad_enabled()
            seen.append(list(history))
            return Prompts(targets.image_index, boxes=targets.boxes)

    turns = list(run_rounds(NoisyTruth(targets), targets, Watcher()))
    assert [len(history) for history in seen] == [0, 1, 2]
    for turn, past in zip(turns, seen[2], strict=False):
        assert past.index == turn.index
        assert past.prompts is turn.prompts
        assert not past.logits.requires_grad
        assert past.logits.equal(turn.logits.detach())


def test_gradients_stay_enabled_for_the_consumer(targets):
    for _ in run_rounds(NoisyTruth(targets), targets, get_protocol("5pts").policy()):
        assert torch.is_grad_enabled()


def test_a_mask_is_seen_where_upsampled_logits_are_above_zero():
    logits = torch.tensor([[[0.0, 0.0], [0.0, 0.0]], [[-1.0, 3.0], [-1.0, 3.0]]])
    seen = predicted_masks(logits, 4)
    assert seen.shape == (2, 4, 4)
    assert not seen[0].any()
    # Columns 0..3 sample the line from -1 to 3 at -1, 0, 2, 3.
    assert seen[1].tolist() == [[False, False, True, True]] * 4


@pytest.mark.parametrize("feedback", ["logits", "sigmoid"])
def test_feedback_of_half_precision_answers_is_float32(feedback):
    answer = torch.ones(1, 2, 2, dtype=torch.bfloat16)
    assert dense_prompt(answer, feedback).dtype == torch.float32
