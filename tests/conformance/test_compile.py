"""Every promptable model compiles: encoding and decoding are one graph each, with equal numbers."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.testing import CompileCounter
from torch._dynamo.utils import counters

from syncsam_lightning.prompts import Prompts
from tests.conformance.test_models import MODELS

SIDE = 64


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def asked(model) -> Prompts:
    """A box of two objects, or points where the model takes no boxes."""
    index = torch.tensor([1, 0])
    if "boxes" in model.input_spec.prompts:
        return Prompts(index, boxes=torch.tensor([[3.0, 5, 20, 60], [10, 10, 31, 40]]))
    points = torch.tensor([[[3.0, 5]], [[10, 10]]])
    return Prompts(index, points=points, point_labels=torch.tensor([[1], [0]]))


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_each_part_is_one_graph_and_gives_the_same(name):
    torch.manual_seed(0)
    model = MODELS[name]().eval()
    images = torch.randint(0, 256, (2, 3, SIDE, SIDE))
    sizes = torch.tensor([[64, 40], [50, 64]])
    prompts = asked(model)
    with torch.no_grad():
        features = model.encode(images, sizes)
        scored = model.decode_scored(features, prompts)
        expected = [features.embedding, scored.logits, model.decode(features, prompts)]
        counter = CompileCounter()
        model.compile_parts(backend=counter)
        features = model.encode(images, sizes)
        assert counter.frame_count == 1
        scored = model.decode_scored(features, prompts)
        assert counter.frame_count == 2
        found = [features.embedding, scored.logits, model.decode(features, prompts)]
        assert counter.frame_count == 3
    assert not counters["graph_break"], dict(counters["graph_break"])
    for compiled, plain in zip(found, expected, strict=True):
        torch.testing.assert_close(compiled, plain)
