from __future__ import annotations

import pytest
import torch
import torchvision

from syncsam_lightning.models.syncsam.cnn import STAGE_CHANNELS, ResNetStages


@pytest.mark.parametrize("name", sorted(STAGE_CHANNELS))
def test_stages_have_strides_4_to_32_and_the_stated_channels(name):
    with torch.no_grad():
        maps = ResNetStages(name)(torch.zeros(1, 3, 64, 32))
    sides = [(16, 8), (8, 4), (4, 2), (2, 1)]
    assert [tuple(m.shape) for m in maps] == [
        (1, channels, *side) for channels, side in zip(STAGE_CHANNELS[name], sides, strict=True)
    ]


def test_names_are_torchvision_s_without_the_classifier():
    names = set(torchvision.models.resnet18().state_dict())
    assert set(ResNetStages("resnet18").state_dict()) == names - {"fc.weight", "fc.bias"}
