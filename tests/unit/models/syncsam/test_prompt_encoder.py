from __future__ import annotations

import pytest
import torch
from segment_anything.modeling import PromptEncoder

from syncsam_lightning.models.syncsam.prompt_encoder import BatchedPromptEncoder
from syncsam_lightning.prompts import Prompts

KINDS = [
    ("boxes",),
    ("points",),
    ("masks",),
    ("boxes", "points"),
    ("points", "masks"),
    ("boxes", "masks"),
    ("boxes", "points", "masks"),
]


@pytest.fixture
def encoder() -> BatchedPromptEncoder:
    torch.manual_seed(0)
    return BatchedPromptEncoder(64)


def only(prompts: Prompts, kinds: tuple[str, ...]) -> Prompts:
    points = "points" in kinds
    return Prompts(
        prompts.image_index,
        boxes=prompts.boxes if "boxes" in kinds else None,
        points=prompts.points if points else None,
        point_labels=prompts.point_labels if points else None,
        mask_logits=prompts.mask_logits if "masks" in kinds else None,
    )


@pytest.mark.parametrize("kinds", KINDS, ids="+".join)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_it_gives_what_sam_s_own_gives(encoder, prompts, kinds, training):
    encoder.train(training)
    sam = PromptEncoder(256, (4, 4), (64, 64), 16)
    sam.load_state_dict(encoder.state_dict())
    asked = only(prompts, kinds)
    points = None if asked.points is None else (asked.points, asked.point_labels)
    masks = None if asked.mask_logits is None else asked.mask_logits.unsqueeze(1)
    with torch.no_grad():
        expected = sam(points, asked.boxes, masks)
        sparse, dense = encoder.encode(asked)
        torch.testing.assert_close(sparse, expected[0])
        torch.testing.assert_close(dense, expected[1])
        torch.testing.assert_close(encoder.dense_positions(), sam.get_dense_pe())


def test_padding_points_leave_no_trace_of_where_they_are(encoder, prompts):
    moved = prompts.points.clone()
    moved[2, 1] = torch.tensor([40.0, 50])  # the one with label -1
    first, _ = encoder.encode(prompts)
    second, _ = encoder.encode(
        Prompts(prompts.image_index, prompts.boxes, moved, prompts.point_labels)
    )
    assert torch.equal(first, second)


@pytest.mark.parametrize("kinds", KINDS, ids="+".join)
def test_in_training_every_parameter_has_a_gradient_whatever_the_prompts(encoder, prompts, kinds):
    sparse, dense = encoder.train().encode(only(prompts, kinds))
    (sparse.sum() + dense.square().sum()).backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_a_parameter_that_was_not_used_has_a_gradient_of_zero(encoder, prompts):
    sparse, dense = encoder.train().encode(only(prompts, ("boxes",)))
    (sparse.sum() + dense.sum()).backward()
    assert not encoder.point_embeddings[0].weight.grad.any()
    assert encoder.point_embeddings[2].weight.grad.any()


def test_masks_of_another_size_are_refused_with_both_shapes(encoder):
    prompts = Prompts(torch.zeros(2, dtype=torch.long), mask_logits=torch.zeros(2, 64, 64))
    with pytest.raises(ValueError, match=r"must be \(2, 16, 16\), got \(2, 64, 64\)"):
        encoder.encode(prompts)


def test_positions_keep_float32_precision_under_autocast(encoder, prompts):
    expected, _ = encoder.encode(prompts)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        sparse, _ = encoder.encode(prompts)
        positions = encoder.dense_positions()
    assert torch.equal(sparse, expected)
    assert torch.equal(positions, encoder.dense_positions())


def test_no_objects_give_no_tokens(encoder):
    prompts = Prompts(torch.zeros(0, dtype=torch.long), boxes=torch.zeros(0, 4))
    sparse, dense = encoder.encode(prompts)
    assert sparse.shape == (0, 2, 256)
    assert dense.shape == (0, 256, 4, 4)
