from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonargparse import ArgumentParser

from syncsam_lightning.interaction import TrainingEpisode, predicted_masks, run_rounds
from syncsam_lightning.prompts import BoxJitter, Targets

EPISODES = st.builds(
    TrainingEpisode,
    iterations=st.integers(1, 10),
    points_per_round=st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple),
    box_probability=st.floats(0, 1),
    accumulate_points=st.booleans(),
    mask_only_rounds=st.booleans(),
)
KEYS = st.integers(0, 2**63 - 1)


def wrong_everywhere(prompts):
    """A model that never finds anything."""
    return torch.full((prompts.num_objects, 8, 8), -5.0)


def first_key(episode: TrainingEpisode, kind: str) -> int:
    return next(key for key in range(100) if episode.plan(key).first == kind)


@settings(deadline=None, max_examples=150)
@given(EPISODES, KEYS)
def test_a_plan_follows_the_rules(episode, key):
    plan = episode.plan(key)
    assert plan.num_rounds == 1 + episode.iterations
    assert plan.num_points[0] == (0 if plan.first == "box" else 1)
    for num, alone in zip(plan.num_points[1:], plan.mask_only[1:], strict=True):
        assert num == 0 if alone else num in episode.points_per_round
    expected = 0
    if episode.mask_only_rounds:
        expected = min(2, max(0, episode.iterations - 1))
    assert sum(plan.mask_only) == expected
    assert plan.mask_only[-1] == (expected > 0)
    assert not plan.mask_only[1]


@settings(deadline=None, max_examples=50)
@given(EPISODES, KEYS)
def test_a_plan_is_a_function_of_the_batch_key_alone(episode, key):
    torch.manual_seed(key % 1000)
    assert episode.plan(key) == episode.plan(key) == replace(episode).plan(key)
    assert episode.policy(key).plan == episode.plan(key)


def test_plans_of_the_default_episode_are_spread_as_published():
    plans = [TrainingEpisode().plan(key) for key in range(4000)]
    assert abs(sum(plan.first == "box" for plan in plans) - 2000) < 130
    middle = Counter(plan.mask_only.index(True) for plan in plans)
    assert sorted(middle) == [2, 3, 4, 5, 6, 7]
    assert all(abs(count - 4000 / 6) < 110 for count in middle.values())
    nums = Counter(plan.num_points[1] for plan in plans)
    assert sorted(nums) == [1, 3, 5, 9]
    assert all(abs(count - 1000) < 120 for count in nums.values())


@pytest.mark.parametrize(("probability", "kind"), [(0.0, "point"), (1.0, "box")])
def test_certain_probabilities_are_certain(probability, kind):
    episode = TrainingEpisode(box_probability=probability)
    assert {episode.plan(key).first for key in range(200)} == {kind}


def test_changing_one_setting_leaves_the_other_draws_alone():
    base = TrainingEpisode()
    without_mask_only = replace(base, mask_only_rounds=False)
    for key in range(20):
        plan, other = base.plan(key), without_mask_only.plan(key)
        assert plan.first == other.first
        for num, other_num, alone in zip(
            plan.num_points, other.num_points, plan.mask_only, strict=True
        ):
            assert alone or num == other_num


@pytest.mark.parametrize("kind", ["box", "point"])
def test_each_round_has_the_prompts_of_its_plan(targets, kind):
    episode = TrainingEpisode()
    policy = episode.policy(first_key(episode, kind))
    turns = list(run_rounds(wrong_everywhere, targets, policy))
    assert len(turns) == 9
    assert turns[0].prompts.kinds == ({"boxes"} if kind == "box" else {"points"})
    for turn in turns[1:]:
        alone = policy.plan.mask_only[turn.index]
        assert turn.prompts.kinds == ({"masks"} if alone else {"points", "masks"})
        assert turn.prompts.num_points == policy.plan.num_points[turn.index]


def test_the_first_click_lies_on_the_object_and_the_first_box_near_it(targets):
    episode = TrainingEpisode()
    click = episode.policy(first_key(episode, "point")).next_prompts(targets, [])
    x, y = click.points[:, 0].long().unbind(1)
    assert targets.masks[torch.arange(5), y, x].all()
    assert (click.point_labels == 1).all()
    box = episode.policy(first_key(episode, "box")).next_prompts(targets, []).boxes
    assert (box - targets.boxes).abs().max() <= 5 * 32 / 256
    assert not box.equal(targets.boxes)


def test_the_box_is_tight_without_jitter(targets):
    episode = TrainingEpisode(box_probability=1, box_jitter=BoxJitter("none"))
    assert episode.policy(0).next_prompts(targets, []).boxes.equal(targets.boxes)


def test_corrections_correct_the_answer_before_them(targets):
    generator = torch.Generator().manual_seed(0)

    def decode(prompts):
        return torch.randn(5, 8, 8, generator=generator)

    episode = TrainingEpisode(iterations=6, mask_only_rounds=False)
    turns = list(run_rounds(decode, targets, episode.policy(5)))
    for previous, turn in pairwise(turns):
        wrong = predicted_masks(previous.logits, 32) ^ targets.masks
        x, y = turn.prompts.points.long().unbind(2)
        objects = torch.arange(5)[:, None]
        assert wrong[objects, y, x].all()
        assert turn.prompts.point_labels.equal(targets.masks[objects, y, x].long())
        sizes = targets.sizes[targets.image_index]
        assert (y < sizes[:, :1]).all()
        assert (x < sizes[:, 1:]).all()


def test_rounds_do_not_repeat_each_other_s_clicks(targets):
    episode = TrainingEpisode(iterations=3, points_per_round=(9,), mask_only_rounds=False)
    turns = list(run_rounds(wrong_everywhere, targets, episode.policy(0)))
    points = [turn.prompts.points[3] for turn in turns[1:]]
    assert not points[0].equal(points[1])
    assert not points[1].equal(points[2])


def test_without_an_error_the_clicks_are_padding(targets):
    def perfect(prompts):
        # Four times the resolution that a model has: no pixel is lost in upsampling.
        return targets.masks.float() * 2 - 1

    episode = TrainingEpisode(iterations=1, points_per_round=(3,))
    last = list(run_rounds(perfect, targets, episode.policy(0)))[-1]
    assert (last.prompts.point_labels == -1).all()
    assert (last.prompts.points == 0).all()


def test_points_accumulate_when_asked_and_outlive_mask_only_rounds(targets):
    episode = TrainingEpisode(accumulate_points=True)
    policy = episode.policy(first_key(episode, "point"))
    turns = list(run_rounds(wrong_everywhere, targets, policy))
    shown = 0
    previous = None
    for turn, new, alone in zip(turns, policy.plan.num_points, policy.plan.mask_only, strict=True):
        shown += new
        if alone:
            assert turn.prompts.points is None
            continue
        assert turn.prompts.num_points == shown
        if previous is not None:
            kept = previous.num_points
            assert turn.prompts.points[:, :kept].equal(previous.points)
            assert turn.prompts.point_labels[:, :kept].equal(previous.point_labels)
        previous = turn.prompts


def pick(targets: Targets, index: torch.Tensor) -> Targets:
    return Targets(
        masks=targets.masks[index],
        boxes=targets.boxes[index],
        image_index=targets.image_index[index],
        keys=targets.keys[index],
        sizes=targets.sizes,
    )


@settings(deadline=None, max_examples=20)
@given(order=st.permutations(range(5)), size=st.integers(1, 5), key=KEYS, kind=st.booleans())
def test_an_object_gets_the_same_prompts_in_any_batch(order, size, key, kind):
    masks = torch.zeros(5, 32, 32, dtype=torch.bool)
    for i in range(5):
        masks[i, i : 4 * i + 3, 2 * i : 20] = True
    boxes = torch.tensor([[2.0 * i, i, 20, 4 * i + 3] for i in range(5)])
    everyone = Targets(
        masks=masks,
        boxes=boxes,
        image_index=torch.tensor([0, 1, 0, 1, 0]),
        keys=torch.tensor([3, 1, 4, 1, 5]),
        sizes=torch.tensor([[32, 24], [24, 32]]),
    )
    index = torch.tensor(order[:size])
    policy = TrainingEpisode(box_probability=float(kind), iterations=4).policy(key)

    batch = list(run_rounds(wrong_everywhere, everyone, policy))
    part = list(run_rounds(wrong_everywhere, pick(everyone, index), policy))
    for whole, some in zip(batch, part, strict=True):
        for name in ("boxes", "points", "point_labels", "mask_logits"):
            expected, found = getattr(whole.prompts[index], name), getattr(some.prompts, name)
            assert (expected is None) == (found is None)
            assert expected is None or found.equal(expected)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"iterations": -1}, ["iterations"]),
        ({"box_probability": 1.5}, ["box_probability"]),
        ({"points_per_round": (1, 0)}, ["points_per_round"]),
        ({"feedback": "probabilities"}, ["feedback", "logits, sigmoid", "'probabilities'"]),
        ({"schedule": "both"}, ["schedule", "joint, per_round", "'both'"]),
        ({"points_per_round": ()}, ["points_per_round", "iterations=8"]),
        ({"iterations": 0, "accumulate_points": True}, ["accumulate_points", "iterations"]),
        ({"iterations": 0, "schedule": "per_round"}, ["'per_round'", "iterations"]),
    ],
)
def test_meaningless_settings_are_refused_by_name(arguments, names):
    with pytest.raises(ValueError, match=".*".join(map(re.escape, names))):
        TrainingEpisode(**arguments)


def test_no_iterations_play_the_first_prompt_alone(targets):
    policy = TrainingEpisode(iterations=0, points_per_round=()).policy(0)
    assert len(list(run_rounds(wrong_everywhere, targets, policy))) == 1


def test_an_episode_can_be_written_in_yaml():
    parser = ArgumentParser()
    parser.add_argument("--episode", type=TrainingEpisode, default=TrainingEpisode())
    parsed = parser.parse_string(
        "episode: {iterations: 2, points_per_round: [1, 3], "
        "box_jitter: {rule: edges, max_shift: 3}, feedback: sigmoid}"
    )
    assert parser.instantiate(parsed).episode == TrainingEpisode(
        iterations=2,
        points_per_round=(1, 3),
        box_jitter=BoxJitter("edges", 3),
        feedback="sigmoid",
    )
