from __future__ import annotations

import re

import pytest
import torch

from syncsam_lightning.models import frozen_checksum, initialise_frozen


def test_the_checksum_is_a_sha256_that_follows_frozen_weights_alone(build):
    model = build()
    first = frozen_checksum(model)
    assert re.fullmatch("[0-9a-f]{64}", first)
    with torch.no_grad():
        model.mask_decoder.med_token.weight.add_(1)
    assert frozen_checksum(model) == first
    with torch.no_grad():
        model.image_encoder.vit.pos_embed[0, 0, 0, 0].add_(1)
    assert frozen_checksum(model) != first


def test_a_frozen_buffer_counts(build):
    model = build(frozen=["cnn"])
    first = frozen_checksum(model)
    model.image_encoder.cnn.bn1.running_mean.add_(1)
    assert frozen_checksum(model) != first


def test_nothing_frozen_has_an_empty_checksum(build):
    assert frozen_checksum(build(vit="trained", frozen=[])) == ""


def test_the_seed_alone_decides_on_frozen_weights(build):
    model = build(frozen=["cnn", "prompt_encoder", "decoder"], med_token=False)
    sums = {}
    for seed, noise in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(noise)
        with torch.no_grad():
            for key in model.frozen_keys():
                model.state_dict()[key].fill_(noise)
        initialise_frozen(model, seed)
        sums[seed, noise] = frozen_checksum(model)
    assert sums[0, 1] == sums[0, 2] != sums[1, 1]


def test_global_random_state_and_trained_weights_are_untouched(build):
    model = build()
    trained = {k: v.clone() for k, v in model.state_dict().items() if k not in model.frozen_keys()}
    random_state = torch.get_rng_state()
    initialise_frozen(model)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in trained.items())


def test_a_tensor_s_values_depend_on_its_name_not_on_its_neighbours(build):
    one, other = build(), build(vit="none")
    initialise_frozen(one)
    initialise_frozen(other)
    shared = one.frozen_keys() & other.frozen_keys()
    assert "mask_decoder.transformer.layers.0.mlp.lin1.weight" in shared
    assert all(torch.equal(one.state_dict()[k], other.state_dict()[k]) for k in shared)


@pytest.mark.parametrize("changes", [{}, {"frozen": ["cnn", "prompt_encoder", "decoder"]}])
def test_random_frozen_parts_give_usable_numbers(build, images, prompts, changes):
    model = build(**changes).train()
    initialise_frozen(model)
    logits = model.decode(model.encode(images), prompts)
    assert logits.isfinite().all()
    assert 1e-3 < logits.std() < 1e3
    logits.square().mean().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)
