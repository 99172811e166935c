"""How SAM-Med2D and IMIS-Bench score, rule by rule; their prompts are tested in interaction.

Each test is a row of the table in ``docs/evaluation.md``.
"""

from dataclasses import replace

import pytest
import torch

from syncsam_lightning.evaluation.objects import with_unit
from syncsam_lightning.evaluation.prompt_file import (
    RecordedPrompts,
    prompt_rows,
    prompt_table,
    write_prompts,
)
from syncsam_lightning.evaluation.scores import score_table
from syncsam_lightning.evaluation.summary import summarise
from syncsam_lightning.interaction import get_protocol
from syncsam_lightning.models import InputSpec

STEPS = ("box", "1pt", "5pts")

SPEC = InputSpec(64, frozenset({"boxes", "points", "masks"}), 16)


@pytest.fixture
def cells(make_batch):
    """A batch whose first image has two masks of one class."""
    batch = make_batch()
    objects = [replace(entry, label="cell") for entry in batch.objects]
    return replace(batch, objects=objects)


@pytest.mark.parametrize("step", STEPS)
def test_unit_of_sammed2d_is_a_mask_and_of_imis_a_class(cells, evaluate, step):
    assert len(evaluate(cells, f"sammed2d-{step}").scores) == 3
    scores = evaluate(cells, f"imis-{step}").scores
    assert [(s.image_id, s.mask_id, s.label) for s in scores] == [
        ("first", 0, "cell"),
        ("second", 0, "cell"),
    ]
    assert scores[0].area == 32 * 32 + 32 * 33 // 2


def test_a_class_is_scored_against_all_its_masks(cells, evaluate):
    evaluation = evaluate(cells, "imis-box")
    prediction, truth = evaluation.predictions[0][0], cells.original_masks[0][:].any(0)
    overlap, areas = int((prediction & truth).sum()), int(prediction.sum() + truth.sum())
    assert evaluation.scores[0].dice == 2 * overlap / areas


def test_sammed2d_rounds_each_mask_to_four_decimals_and_the_others_do_not(make_batch, evaluate):
    rounded = evaluate(make_batch(), "sammed2d-box").scores
    exact = evaluate(make_batch(), "box").scores
    assert [s.dice for s in rounded] == [round(s.dice, 4) for s in exact]
    assert [s.iou for s in rounded] == [round(s.iou, 4) for s in exact]
    assert any(round(s.dice, 4) != s.dice for s in evaluate(make_batch(), "imis-box").scores)


@pytest.mark.parametrize(("name", "expected"), [("box", 1), ("sammed2d-box", 1), ("imis-box", 0)])
def test_empty_against_empty_is_by_the_rule(make_batch, evaluate, name, expected):
    # A mask without foreground, for which the model fills an empty box.
    batch = make_batch()
    targets, index = batch.targets, 2
    targets.masks[index] = False
    targets.boxes[index] = 0
    batch.original_masks[1].bits[:] = 0
    batch.original_boxes[index] = 0
    batch.objects[index] = replace(batch.objects[index], area=0)
    score = evaluate(batch, name).scores[index]
    assert (score.dice, score.iou) == (expected, expected)


def test_averaging_of_sammed2d_is_over_masks_and_of_imis_over_images(make_batch, evaluate):
    for name, weights in (("sammed2d-box", (1 / 3, 1 / 3)), ("imis-box", (1 / 4, 1 / 2))):
        scores = evaluate(make_batch(), name).scores
        row = next(r for r in summarise(score_table(scores)) if r.metric == "dice")
        first, second, third = (s.dice for s in scores)
        assert first != second
        assert row.mean == pytest.approx(weights[0] * (first + second) + weights[1] * third)


@pytest.mark.parametrize("name", [p + s for p in ("sammed2d-", "imis-") for s in STEPS])
def test_prompts_replay_from_a_file_bit_for_bit(cells, evaluate, tmp_path, name):
    protocol = get_protocol(name)
    first = evaluate(cells, name, seed=3)
    write_prompts(tmp_path / "p.parquet", prompt_table(prompt_rows(first, SPEC)))
    batch = with_unit(cells, protocol.unit)
    rounds = RecordedPrompts(tmp_path / "p.parquet").rounds(batch, protocol, SPEC, seed=3)
    again = evaluate(cells, name, seed=3, replay=rounds)
    assert again.scores == first.scores
    for ours, theirs in zip(first.rounds, again.rounds, strict=True):
        for field in ("boxes", "points", "point_labels", "mask_logits"):
            left, right = getattr(ours, field), getattr(theirs, field)
            assert (left is None) == (right is None), field
            assert left is None or torch.equal(left, right), field
