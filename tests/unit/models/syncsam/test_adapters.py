from __future__ import annotations

import pytest
import torch
from torch import nn

from syncsam_lightning.models.syncsam.adapters import bridge, embedding_encoder, stage_adapter


def channels(module: nn.Sequential) -> list[tuple[int, int]]:
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    return [(m.in_channels, m.out_channels) for m in module if isinstance(m, kinds)]


@pytest.mark.parametrize(
    ("width_in", "stride", "expected"),
    [
        (64, 4, [(64, 128), (128, 256), (256, 768)]),
        (128, 8, [(128, 256), (256, 768)]),
        (256, 16, [(256, 768)]),
        (512, 32, [(512, 256), (256, 768)]),
    ],
)
def test_an_adapter_reaches_the_grid_doubling_or_halving_the_channels(width_in, stride, expected):
    adapter = stage_adapter(width_in, stride, 768)
    assert channels(adapter) == expected
    side = 64 // stride
    assert adapter(torch.zeros(1, width_in, side, side)).shape == (1, 768, 4, 4)


def test_a_bridge_ends_at_a_quarter_of_the_image():
    assert channels(bridge(768)) == [(768, 256), (256, 32)]
    assert bridge(48)(torch.zeros(1, 48, 4, 3)).shape == (1, 32, 16, 12)


def test_the_embedding_encoder_ends_at_a_quarter_of_the_image():
    assert channels(embedding_encoder()) == [(256, 64), (64, 32)]
    assert embedding_encoder()(torch.zeros(1, 256, 4, 4)).shape == (1, 32, 16, 16)
