"""Recomputing saves memory and changes no number."""

from __future__ import annotations

import pytest
import torch

PARTS = ("vit", "cnn", "decoder")


def step(model, images, prompts) -> tuple[torch.Tensor, dict[str, torch.Tensor], int]:
    """Return the answer, the gradients and how many bytes were kept for the backward pass."""
    model.train()
    kept: dict[int, int] = {}
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = model.decode(model.encode(images), prompts)
    logits.square().sum().backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return logits.detach(), gradients, sum(kept.values())


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("vit", ["frozen", "trained"])
def test_a_recomputed_part_gives_the_same_numbers_and_keeps_less(build, images, prompts, part, vit):
    logits, gradients, kept = step(build(vit=vit), images, prompts)
    model = build(vit=vit, recompute=[part])
    found_logits, found_gradients, found_kept = step(model, images, prompts)
    assert torch.equal(found_logits, logits)
    assert found_gradients.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(found_gradients[name], gradient, msg=name)
    assert found_kept < 0.97 * kept


def test_running_statistics_move_once(build, images, prompts):
    plain, recomputing = build(), build(recompute=["cnn"])
    for model in (plain, recomputing):
        step(model, images, prompts)
    for (name, expected), found in zip(plain.named_buffers(), recomputing.buffers(), strict=True):
        torch.testing.assert_close(found, expected, msg=name)
    momenta = {m.momentum for m in recomputing.modules() if isinstance(m, torch.nn.BatchNorm2d)}
    assert momenta == {0.1}


def test_nothing_is_kept_without_a_graph(build, images, prompts):
    model = build(recompute=PARTS)
    with torch.no_grad():
        assert torch.equal(
            model.decode(model.encode(images), prompts),
            (plain := build()).decode(plain.encode(images), prompts),
        )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"recompute": "vit"}, "recompute must be a list of parts, got the text 'vit'"),
        ({"recompute": ["neck"]}, "recompute: unknown value 'neck'; choose from vit, cnn, decoder"),
        ({"recompute": ["cnn"], "cnn": "none"}, "recompute names 'cnn', but cnn='none'"),
    ],
)
def test_what_can_not_be_recomputed_is_named(build, settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)
