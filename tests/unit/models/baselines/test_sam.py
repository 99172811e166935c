from __future__ import annotations

import pytest
import torch

from syncsam_lightning.models import FTSAM, SAM
from syncsam_lightning.models.baselines.sam_decoder import MaskCandidates, is_ambiguous
from syncsam_lightning.prompts import Prompts

VIT = {"image_size": 64, "vit_width": 32, "vit_depth": 4, "vit_heads": 2, "window_size": 3}
INDEX = torch.zeros(3, dtype=torch.long)


def points(*labels):
    labels = torch.tensor(labels)
    return {"points": torch.zeros(*labels.shape, 2), "point_labels": labels}


# Which mask is the answer


def test_one_click_or_one_box_alone_is_ambiguous():
    assert is_ambiguous(Prompts(INDEX, boxes=torch.zeros(3, 4))).all()
    clicks = Prompts(INDEX, **points([1, -1], [1, 0], [-1, 0]))
    assert is_ambiguous(clicks).tolist() == [True, False, True]


@pytest.mark.parametrize(
    "more", [{"boxes": torch.zeros(3, 4)}, {"mask_logits": torch.zeros(3, 16, 16)}]
)
def test_a_click_with_anything_else_is_not(more):
    clicks = Prompts(INDEX, **points([1, -1], [1, 0], [-1, -1]), **more)
    # The last has no click at all, and so a single prompt.
    assert is_ambiguous(clicks).tolist() == [False, False, True]


def test_the_best_by_predicted_iou_is_chosen_among_those_meant_for_the_prompt():
    logits = torch.arange(12.0).reshape(3, 4, 1, 1)
    iou = torch.tensor([[0.9, 0.1, 0.3, 0.2], [0.0, 0.1, 0.3, 0.2], [0.0, 0.1, 0.3, 0.4]])
    best = MaskCandidates(logits, iou).best(torch.tensor([True, False, True]))
    assert best.logits.flatten().tolist() == [2, 4, 11]
    assert best.predicted_iou.tolist() == pytest.approx([0.3, 0.0, 0.4])


@pytest.fixture
def asked():
    torch.manual_seed(0)
    sam = SAM(**VIT).eval()
    features = sam.encode(torch.randint(0, 256, (1, 3, 64, 64)))
    prompts = Prompts(INDEX, points=torch.rand(3, 2, 2) * 60, point_labels=torch.tensor(
        [[1, -1], [1, 1], [0, 1]]))  # fmt: skip
    return sam, features, prompts


def test_the_single_mask_is_the_first_candidate(asked):
    sam, features, prompts = asked
    sam.multimask = "never"
    expected = sam.candidates(features, prompts).logits[:, 0]
    torch.testing.assert_close(sam.decode(features, prompts), expected)


@pytest.mark.parametrize(
    ("multimask", "from_three"),
    [("ambiguous", [True, False, False]), ("always", [True] * 3), ("never", [False] * 3)],
)
def test_three_masks_are_considered_when_they_should_be(asked, multimask, from_three):
    sam, features, prompts = asked
    sam.multimask = multimask
    candidates = sam.candidates(features, prompts)
    answers = sam.decode(features, prompts)
    for answer, logits, iou, several in zip(
        answers, candidates.logits, candidates.predicted_iou, from_three, strict=True
    ):
        expected = logits[1 + int(iou[1:].argmax())] if several else logits[0]
        torch.testing.assert_close(answer, expected)


def test_what_it_expects_of_its_answer_comes_with_it(asked):
    sam, features, prompts = asked
    scored = sam.decode_scored(features, prompts)
    assert scored.logits.equal(sam.decode(features, prompts))
    expected = sam.candidates(features, prompts).predicted_iou
    assert all(score in row for score, row in zip(scored.predicted_iou, expected, strict=True))


# What is trained


def trained(model):
    return {name for name, p in model.named_parameters() if p.requires_grad}


def test_sam_is_trained_as_a_whole_unless_parts_are_frozen():
    assert trained(SAM(**VIT)) == {name for name, _ in SAM(**VIT).named_parameters()}
    partly = SAM(frozen=["image_encoder", "prompt_encoder"], **VIT)
    assert {name.split(".")[0] for name in trained(partly)} == {"mask_decoder"}


def test_ft_sam_trains_the_decoder_but_for_what_it_never_computes():
    names = trained(FTSAM(**VIT))
    assert {name.split(".")[0] for name in names} == {"mask_decoder"}
    assert not [name for name in names if "iou_prediction_head" in name]
    assert {name.split(".")[2] for name in names if "hypernetworks" in name} == {"0"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"multimask": "sometimes"}, "multimask: unknown value 'sometimes'; choose from ambiguous"),
        ({"frozen": ["encoder"]}, "frozen: unknown value 'encoder'; choose from image_encoder"),
        ({"frozen": "mask_decoder"}, "frozen must be a list of parts, got the text 'mask_decoder'"),
        ({"image_size": 100}, "image_size must be a multiple of 16, got 100"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SAM(**(VIT | options))
