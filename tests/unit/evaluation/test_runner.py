"""Scores are those of the original pixels, worked out by hand."""

from dataclasses import replace

import pytest
import torch

from syncsam_lightning.data.batch import ImageInfo
from syncsam_lightning.errors import UnsupportedPromptError
from syncsam_lightning.evaluation.runner import evaluate_batch
from syncsam_lightning.geometry import PackedMasks, packed_masks
from syncsam_lightning.interaction import get_protocol
from syncsam_lightning.models import InputSpec


def test_a_filled_box_scores_what_filling_the_box_scores(make_batch, evaluate):
    scores = evaluate(make_batch()).scores
    assert [s.label for s in scores] == ["square", "triangle", "bar"]
    area, box = 32 * 33 / 2, 32 * 32
    expected = [1.0, 2 * area / (area + box), 1.0]
    assert [s.fill_box_dice for s in scores] == pytest.approx(expected)
    # The model answers on a grid of 4 pixels: a filled box loses its four corners to the bilinear
    # upsampling, here 16 of 1024 pixels at the most.
    assert [s.dice for s in scores] == pytest.approx(expected, abs=0.02)
    for score in scores:
        assert score.iou == pytest.approx(score.dice / (2 - score.dice), abs=1e-6)


def test_predictions_have_the_original_size_without_padding(make_batch, evaluate):
    predictions = evaluate(make_batch()).predictions
    assert [p.shape for p in predictions] == [(2, 128, 64), (1, 32, 64)]
    assert all(mask.dtype == torch.bool for of_image in predictions for mask in of_image)


def test_scores_say_which_mask_they_belong_to(make_batch, evaluate):
    scores = evaluate(make_batch(), "1pt").scores
    found = [(s.index, s.image_id, s.mask_id, s.source, s.modality, s.case, s.area) for s in scores]
    assert found == [
        (4, "first", 0, "A", "ct", "1", 1024),
        (4, "first", 3, "A", "ct", "1", 528),
        (7, "second", 0, "B", "mr", "2", 512),
    ]
    assert {(s.protocol, s.version) for s in scores} == {("1pt", 2)}


def test_an_image_that_only_fills_up_is_not_scored(make_batch, evaluate):
    evaluation = evaluate(make_batch(second_is_valid=False))
    assert [s.image_id for s in evaluation.scores] == ["first", "first"]
    assert len(evaluation.predictions) == 2


def test_an_image_without_objects_moves_no_score_to_another(make_batch, evaluate):
    batch = make_batch()
    empty = ImageInfo(5, "empty", 64, 64, modality="us", source="C", case="3")
    targets = replace(
        batch.targets,
        image_index=torch.tensor([0, 0, 2]),
        sizes=torch.tensor([[64, 32], [64, 64], [32, 64]]),
    )
    changed = replace(
        batch,
        images=batch.images[[0, 0, 1]],
        targets=targets,
        infos=[batch.infos[0], empty, batch.infos[1]],
        original_masks=[
            batch.original_masks[0],
            PackedMasks.of(torch.zeros(0, 64, 64).bool()),
            batch.original_masks[1],
        ],
    )
    for name in ("box", "5pts"):
        assert evaluate(changed, name).scores == evaluate(batch, name).scores


def test_features_are_encoded_once_for_all_protocols(make_batch, model):
    batch = make_batch()
    features = model.encode(batch.images)
    for name in ("box", "1pt", "5pts"):
        evaluate_batch(model, features, batch, get_protocol(name))
    assert model.num_encoded == 1


@pytest.mark.parametrize(("name", "rounds"), [("box", 1), ("1pt", 1), ("5pts", 5)])
def test_every_round_of_a_protocol_is_kept(make_batch, evaluate, name, rounds):
    assert len(evaluate(make_batch(), name).rounds) == rounds


def test_nothing_of_an_evaluation_is_in_the_graph(make_batch, model):
    batch = make_batch()
    features = model.encode(batch.images)
    evaluation = evaluate_batch(model, features, batch, get_protocol("5pts"))
    assert not any(p.mask_logits.requires_grad for p in evaluation.rounds[1:])


def test_a_training_batch_is_refused(make_batch, evaluate):
    with pytest.raises(ValueError, match="masks at the original resolution: use another loader"):
        evaluate(make_batch(with_original=False))


def test_a_model_without_points_refuses_a_protocol_of_points(make_batch, model, evaluate):
    model.input_spec = InputSpec(64, frozenset({"boxes"}), 16)
    with pytest.raises(UnsupportedPromptError, match="BoxFiller does not take points"):
        evaluate(make_batch(), "1pt")


@pytest.mark.parametrize("name", ["box", "5pts", "imis-1pt"])
def test_an_image_is_scored_object_by_object_as_all_together(
    make_batch, evaluate, name, monkeypatch
):
    together = evaluate(make_batch(), name)
    monkeypatch.setattr(packed_masks, "PIXELS_AT_ONCE", 1)
    alone = evaluate(make_batch(), name)
    assert alone.scores == together.scores
    for left, right in zip(alone.predictions, together.predictions, strict=True):
        assert left.bits.equal(right.bits)
    for left, right in zip(alone.rounds, together.rounds, strict=True):
        assert left.points is None or left.points.equal(right.points)
