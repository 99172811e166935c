from __future__ import annotations

import pytest
import torch

from syncsam_lightning.models import SAM, SAMMed2D, load_weights
from syncsam_lightning.models.baselines.sam_med2d import Adapter

VIT = {"image_size": 64, "vit_width": 32, "vit_depth": 4, "vit_heads": 2, "window_size": 3}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return SAMMed2D(**VIT).eval()


@pytest.fixture
def images():
    return torch.randint(0, 256, (1, 3, 64, 64), generator=torch.Generator().manual_seed(1))


def seen_by_the_encoder(model, images, sizes=None):
    seen = []
    handle = model.image_encoder.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    with torch.no_grad():
        model.encode(images, sizes)
    handle.remove()
    return seen[0]


def test_the_adapters_prompt_encoder_and_decoder_are_trained(model):
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    encoder = {name for name in trained if name.startswith("image_encoder.")}
    assert encoder == {n for n, _ in model.named_parameters() if ".Adapter." in n}
    assert {n for n, _ in model.named_parameters() if n.startswith("prompt_encoder.")} <= trained
    assert "image_encoder.pos_embed" in model.frozen_keys()


def test_without_its_adapters_it_is_sam(model, images):
    sam = SAM(**VIT).eval()
    report = load_weights(sam, model.state_dict())
    assert all(".Adapter." in name for name in report.unexpected)
    for block in model.image_encoder.blocks:  # the norm comes last: zero in, nothing added
        torch.nn.init.zeros_(block.Adapter.norm.weight)
    with torch.no_grad():
        expected = sam.encode(images).embedding
        torch.testing.assert_close(model.encode(images).embedding, expected, rtol=1e-4, atol=1e-5)


def test_an_adapter_gates_channels_then_adds_a_coarse_map():
    adapter = Adapter(4).double()
    tokens = torch.rand(2, 6, 4, 4, dtype=torch.double)
    with torch.no_grad():
        maps = tokens.movedim(-1, 1)
        gate = adapter.channel(maps.mean((2, 3)))
        assert ((gate > 0) & (gate < 1)).all()
        coarse = torch.conv2d(
            maps * gate[..., None, None], adapter.spatial[0].weight, stride=2, padding=1
        )
        assert coarse.shape[2:] == (3, 2)
        fine = torch.conv_transpose2d(
            coarse.relu(), adapter.spatial[2].weight, stride=2, padding=1
        ).relu()
        expected = torch.layer_norm((maps + fine).movedim(1, -1), (4,))
        torch.testing.assert_close(adapter(tokens), expected)


def test_only_the_norm_of_an_adapter_has_a_bias():
    assert [name for name, _ in Adapter(8).named_parameters() if "bias" in name] == ["norm.bias"]


def test_the_order_of_channels_is_reversed_before_the_statistics_are_applied(images):
    model = SAMMed2D(channels="bgr", **VIT).eval()
    seen = seen_by_the_encoder(model, images)
    mean, std = torch.tensor([123.675, 116.28, 103.53]), torch.tensor([58.395, 57.12, 57.375])
    for channel in range(3):
        expected = (images[:, 2 - channel] - mean[channel]) / std[channel]
        torch.testing.assert_close(seen[:, channel], expected)


def test_a_small_image_is_centred_in_zeros(model, images):
    seen = seen_by_the_encoder(model, images, torch.tensor([[11, 40]]))
    assert not seen[:, :, :26].any()  # (64 - 11) // 2
    assert not seen[:, :, 37:].any()
    assert not seen[:, :, :, :12].any()
    assert not seen[:, :, :, 52:].any()
    whole = seen_by_the_encoder(model, images)
    assert seen[:, :, 26:37, 12:52].equal(whole[:, :, 26:37, 12:52])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 48}, "image_size must be a multiple of 32, since the adapters halve"),
        ({"channels": "grey"}, "channels: unknown value 'grey'; choose from rgb, bgr"),
    ],
)
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SAMMed2D(**(VIT | options))
