"""What fills up objects with fewer points is not shown to a model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from syncsam_lightning.geometry import ResizePlan
from syncsam_lightning.interaction import InteractiveSession, decode_unpadded
from syncsam_lightning.models import SAM, PromptableModel, ScribblePromptUNet, SyncSAM
from syncsam_lightning.prompts import Prompts

SIDE = 64
VIT = {"image_size": SIDE, "vit_width": 32, "vit_depth": 4, "vit_heads": 2, "window_size": 3}
MODELS: dict[str, Callable[[], PromptableModel]] = {
    "SyncSAM": lambda: SyncSAM(cnn="none", **VIT),
    "SAM": lambda: SAM(**VIT),
    "ScribblePromptUNet": lambda: ScribblePromptUNet(image_size=SIDE, width=4, depth=2),
}
# Objects with 3, 1, 0 and 2 points, padding before, between and behind them.
LABELS = torch.tensor([[1, 0, 1], [-1, 1, -1], [-1, -1, -1], [0, -1, 1]])


@pytest.fixture(params=MODELS)
def decode(request: pytest.FixtureRequest) -> Callable[[Prompts], Tensor]:
    """A model's answers about an image."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = MODELS[request.param]().eval()
        features = model.encode(255 * torch.rand(1, 3, SIDE, SIDE))
    return torch.no_grad()(partial(model.decode, features))


def prompts() -> Prompts:
    generator = torch.Generator().manual_seed(1)
    corners = 30 * torch.rand(4, 2, generator=generator)
    return Prompts(
        torch.zeros(4, dtype=torch.int64),
        boxes=torch.cat([corners, corners + 20], dim=1),
        points=60 * torch.rand(4, 3, 2, generator=generator),
        point_labels=LABELS,
    )


def alone(asked: Prompts, number: int) -> Prompts:
    """One object, told without padding."""
    one = asked[number : number + 1]
    kept = one.point_labels[0] != -1
    return Prompts(
        one.image_index,
        boxes=one.boxes,
        points=one.points[:, kept] if kept.any() else None,
        point_labels=one.point_labels[:, kept] if kept.any() else None,
        mask_logits=one.mask_logits,
    )


def test_a_mask_is_the_same_alone_and_among_objects_with_more_points(decode):
    asked = prompts()
    found = decode_unpadded(decode, asked)
    for number in range(asked.num_objects):
        expected = decode(alone(asked, number))[0]
        torch.testing.assert_close(found[number], expected, rtol=1e-4, atol=1e-5)


def test_a_person_s_masks_are_the_same_alone_and_together(decode):
    plan, asked = ResizePlan(SIDE, SIDE, SIDE), prompts()

    def turns(objects: Prompts) -> Tensor:
        session = InteractiveSession(decode, plan)
        session.prompt(boxes=objects.boxes)
        return session.click(objects.points, objects.point_labels).logits

    together = turns(asked)
    for number in (0, 1, 3):  # each of which has something to click
        expected = turns(alone(asked, number))[0]
        # Two rounds, and sums in another order; padding would make a difference of 0.1 or more.
        assert (together[number] - expected).norm() < 1e-3 * expected.norm()


def test_nothing_changes_where_there_is_no_padding():
    calls = []

    def remember(given: Prompts) -> Tensor:
        calls.append(given)
        return torch.zeros(given.num_objects, 4, 4)

    whole = Prompts(torch.zeros(2, dtype=torch.int64), boxes=torch.tensor([[1.0, 2, 3, 4]] * 2))
    decode_unpadded(remember, whole)
    decode_unpadded(remember, prompts()[:1])
    assert calls[0] is whole
    assert len(calls) == 2


def test_sams_padding_is_a_prompt_of_its_own(decode, request: pytest.FixtureRequest):
    """The reason for all this: a token that says "not a point" changes SAM's answers."""
    one = prompts()[1:2]
    padded, bare = decode(one), decode(alone(one, 0))
    draws = "ScribblePrompt" in request.node.name
    assert bool(torch.allclose(padded, bare, rtol=1e-4, atol=1e-5)) is draws
