"""Encoding and decoding are one graph each, and compiling leaves a model what it was."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch

from syncsam_lightning.prompts import Prompts


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def kinds(prompts: Prompts) -> list[Prompts]:
    """The prompts that an episode gives: a box, points, points and a mask, a mask."""
    points = {"points": prompts.points, "point_labels": prompts.point_labels}
    return [
        Prompts(prompts.image_index, boxes=prompts.boxes),
        Prompts(prompts.image_index, **points),
        Prompts(prompts.image_index, **points, mask_logits=prompts.mask_logits),
        Prompts(prompts.image_index, mask_logits=prompts.mask_logits),
    ]


@pytest.mark.parametrize("recompute", [(), ("vit", "decoder")])
def test_neither_has_a_graph_break(build, images, prompts, recompute):
    model = build(recompute=recompute).train()
    sizes = torch.tensor([[64, 40], [50, 64]])
    explained = torch._dynamo.explain(model.encode)(images, sizes)
    assert (explained.graph_break_count, explained.graph_count) == (0, 1), explained
    features = model.encode(images, sizes)
    for asked in kinds(prompts):
        explained = torch._dynamo.explain(model.decode)(features, asked)
        assert (explained.graph_break_count, explained.graph_count) == (0, 1), explained


def test_a_break_would_be_counted(build, images):
    model = build()

    def encode_and_print(images):
        features = model.encode(images)
        print(features.embedding.sum().item())
        return features.embedding * 2

    assert torch._dynamo.explain(encode_and_print)(images).graph_break_count > 0


@pytest.mark.slow
def test_a_compiled_model_gives_the_same_numbers(build, images, prompts):
    plain, compiled = build().train(), build().train()
    compiled.compile_parts(backend="aot_eager", fullgraph=True)
    for model in (plain, compiled):
        model.decode(model.encode(images), prompts).square().sum().backward()
    for (name, expected), found in zip(
        plain.named_parameters(), compiled.parameters(), strict=True
    ):
        torch.testing.assert_close(found.grad, expected.grad, msg=name, rtol=1e-3, atol=1e-5)


def test_compiling_changes_no_name_and_copies_are_their_own(build, images):
    model = build().eval()
    names = list(model.state_dict())
    model.compile_parts(backend="eager")
    assert list(model.state_dict()) == names
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
        assert other.encode(images).embedding.abs().sum() == 0
        assert model.encode(images).embedding.abs().sum() > 0


def test_features_go_through_the_compiler_as_they_are(build, images):
    model = build()
    model.compile_parts(backend="eager", fullgraph=True)
    features = model.encode(images)
    assert {field.name for field in dataclasses.fields(features)} == {"embedding", "multi_scale"}


def test_a_recomputed_cnn_is_not_compiled(build):
    with pytest.raises(ValueError, match="recompute names 'cnn'"):
        build(recompute=["cnn"]).compile_parts(backend="eager")
