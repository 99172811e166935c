from __future__ import annotations

import pytest
import torch

from syncsam_lightning.errors import PromptFileError
from syncsam_lightning.interaction import (
    PROTOCOLS,
    ReplayPolicy,
    TrainingEpisode,
    dense_prompt,
    get_protocol,
    run_rounds,
)
from syncsam_lightning.prompts import Prompts

INDEX = torch.tensor([0, 1])
BOX = Prompts(INDEX, boxes=torch.ones(2, 4))


def model(seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda prompts: torch.randn(prompts.num_objects, 8, 8, generator=generator)


def same(a, b):
    return (a is None and b is None) or (a is not None and b is not None and a.equal(b))


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_another_model_meets_the_recorded_prompts_with_its_own_feedback(name, targets):
    protocol = get_protocol(name)
    recorded = [turn.prompts for turn in run_rounds(model(0), targets, protocol.policy())]
    turns = list(run_rounds(model(1), targets, protocol.replay(recorded)))
    assert len(turns) == len(recorded)
    for index, (turn, wanted) in enumerate(zip(turns, recorded, strict=True)):
        for field in ("image_index", "boxes", "points", "point_labels"):
            assert same(getattr(turn.prompts, field), getattr(wanted, field))
        if index == 0:
            assert turn.prompts.mask_logits is None
        else:
            answer = dense_prompt(turns[index - 1].logits, protocol.feedback)
            assert turn.prompts.mask_logits.equal(answer)
            assert not turn.prompts.mask_logits.equal(wanted.mask_logits)


def test_the_same_model_gives_the_same_answers_again(targets):
    policy = TrainingEpisode(feedback="sigmoid").policy(3)
    first = list(run_rounds(model(0), targets, policy))
    replay = ReplayPolicy([turn.prompts for turn in first], feedback="sigmoid")
    for turn, again in zip(first, run_rounds(model(0), targets, replay), strict=True):
        assert again.logits.equal(turn.logits)
        assert same(again.prompts.mask_logits, turn.prompts.mask_logits)


def test_without_feedback_no_answer_is_given_back(targets):
    recorded = [Prompts(targets.image_index, boxes=targets.boxes)] * 2
    turns = list(run_rounds(model(0), targets, ReplayPolicy(recorded, feedback=None)))
    assert [turn.prompts.kinds for turn in turns] == [{"boxes"}, {"boxes"}]


def test_prompts_for_other_objects_are_refused(targets):
    with pytest.raises(PromptFileError, match="recorded for 2 objects, but 5 are to be prompted"):
        next(run_rounds(model(0), targets, ReplayPolicy([BOX], feedback="logits")))


def test_prompts_of_another_protocol_are_refused():
    with pytest.raises(PromptFileError, match="1 rounds are recorded, but 5 are to be played"):
        get_protocol("5pts").replay([BOX])


@pytest.mark.parametrize(
    ("rounds", "feedback", "message"),
    [
        ([], "logits", "no round is recorded"),
        ([Prompts(INDEX)], "logits", "recorded round 0 has neither boxes nor points"),
        ([BOX, Prompts(INDEX)], None, "recorded round 1 has neither boxes nor points"),
        ([BOX, BOX[:1]], "logits", r"different numbers of objects: \[1, 2\]"),
    ],
)
def test_records_that_cannot_be_played_are_refused(rounds, feedback, message):
    with pytest.raises(PromptFileError, match=message):
        ReplayPolicy(rounds, feedback=feedback)
