from __future__ import annotations

import pytest
import torch
from torch import nn

from syncsam_lightning.errors import UnsupportedPromptError
from syncsam_lightning.models import ImageFeatures, InputSpec, PromptableModel
from syncsam_lightning.prompts import Prompts


class BoxModel(PromptableModel):
    input_spec = InputSpec(size=16, prompts=frozenset({"boxes"}), mask_size=4)

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
        self.head = nn.BatchNorm2d(2)

    def encode(self, images, sizes=None):
        return ImageFeatures(self.head(self.backbone(images.float())))

    def decode(self, features, prompts):
        self.check_prompts(prompts)
        return features.embedding[prompts.image_index, 0]


FEATURES = ImageFeatures(torch.zeros(1, 2, 4, 4))
INDEX = torch.zeros(1, dtype=torch.long)


def test_prompts_that_a_model_does_not_take_are_named_with_those_it_takes():
    prompts = Prompts(INDEX, points=torch.zeros(1, 1, 2), point_labels=torch.ones(1, 1).long())
    with pytest.raises(UnsupportedPromptError, match=r"not take points .*takes boxes"):
        BoxModel().decode(FEATURES, prompts)


def test_no_prompt_is_an_error():
    with pytest.raises(UnsupportedPromptError, match="BoxModel was given no prompt"):
        BoxModel().decode(FEATURES, Prompts(INDEX))


def test_frozen_parts_stay_in_eval_mode_and_get_no_gradient():
    model = BoxModel()
    model.freeze(["backbone"])
    model.train()
    assert not model.backbone.training
    assert not model.backbone[1].training
    assert model.head.training
    assert [name for name, p in model.named_parameters() if p.requires_grad] == [
        "head.weight",
        "head.bias",
    ]


def test_frozen_keys_hold_buffers_too():
    model = BoxModel()
    assert model.frozen_keys() == frozenset()
    model.freeze(["backbone"])
    assert model.frozen_keys() == {
        f"backbone.{name}"
        for name in (
            *("0.weight", "0.bias", "1.weight", "1.bias"),
            *("1.running_mean", "1.running_var", "1.num_batches_tracked"),
        )
    }


def test_a_single_parameter_may_be_frozen():
    model = BoxModel()
    model.freeze(["backbone.0.weight"])
    assert model.frozen_keys() == {"backbone.0.weight"}
    assert not model.backbone[0].weight.requires_grad
    assert model.backbone[0].bias.requires_grad
    assert model.frozen_modules == []


def test_detached_features_have_no_graph():
    features = ImageFeatures(torch.zeros(1, requires_grad=True), torch.ones(1, requires_grad=True))
    assert not features.detach().embedding.requires_grad
    assert not features.detach().multi_scale.requires_grad
    assert ImageFeatures(torch.zeros(1)).detach().multi_scale is None
