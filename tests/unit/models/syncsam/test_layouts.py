from __future__ import annotations

import pytest
import torch

from syncsam_lightning.models import layout
from syncsam_lightning.models.syncsam.layouts import (
    LAYOUTS,
    PREDECESSOR,
    SAM,
    SYNCSAM,
    to_predecessor_layout,
)


def find_layout(keys, model_keys):
    return layout.find_layout(keys, model_keys, LAYOUTS)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("image_encoder.vit.blocks.3.attn.qkv.weight", "image_encoder.blocks.3.attn.qkv.weight"),
        ("image_encoder.vit.pos_embed", "image_encoder.pos_embed"),
        ("image_encoder.neck.0.weight", "image_encoder.neck.0.weight"),
        ("mask_decoder.iou_token.weight", "mask_decoder.iou_token.weight"),
    ],
)
def test_sam_s_names(ours, theirs):
    assert SAM.to_ours(theirs) == ours
    assert SAM.from_ours(ours) == theirs


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("image_encoder.neck.0.weight", "image_encoder.sam_img_encoder.neck.0.weight"),
        ("image_encoder.cnn.conv1.weight", "resnet.stage0.0.weight"),
        ("image_encoder.cnn.layer4.0.bn1.bias", "resnet.stage4.0.bn1.bias"),
        ("image_encoder.adapters.1.0.bias", "adapters_in.1.reshaper.0.bias"),
        ("image_encoder.bridges.0.3.bias", "adapters_bridge.2.3.bias"),
        ("image_encoder.bridges.2.3.bias", "adapters_bridge.0.3.bias"),
        ("mask_decoder.med_token.weight", "mask_decoder.med_token.weight"),
        ("mask_decoder.med_mlp.layers.0.bias", "mask_decoder.hf_mlp.layers.0.bias"),
        (
            "mask_decoder.transformer.norm_final_attn.bias",
            "mask_decoder.sam_mask_decoder.transformer.norm_final_attn.bias",
        ),
    ],
)
def test_the_predecessor_s_names(ours, theirs):
    assert PREDECESSOR.to_ours(theirs) == ours
    assert PREDECESSOR.from_ours(ours) == theirs


def test_every_tensor_of_every_kind_of_model_is_told_apart(build, sam_state):
    ours = set(build().state_dict())
    assert find_layout(ours, ours) is SYNCSAM
    assert find_layout(to_predecessor_layout(build().state_dict()), ours) is PREDECESSOR
    assert find_layout(sam_state, ours) is SAM


def test_a_checkpoint_of_trained_weights_only_is_ours(build):
    for changes in ({}, {"cnn": "none"}, {"vit": "none"}):
        model = build(**changes)
        trained = set(model.state_dict()) - model.frozen_keys()
        assert find_layout(trained, model.state_dict()) is SYNCSAM


def test_a_part_that_tells_nothing_is_ours_if_the_model_has_it(build):
    keys = ["prompt_encoder.no_mask_embed.weight"]
    assert find_layout(keys, build().state_dict()) is SYNCSAM
    assert find_layout([*keys, "x.weight"], build().state_dict()) is None
    assert find_layout([], build().state_dict()) is None


def test_each_layout_has_its_own_name():
    assert sorted(layout.name for layout in LAYOUTS) == ["predecessor", "sam", "syncsam"]


def test_a_name_that_is_not_ours_has_none_elsewhere():
    with pytest.raises(ValueError, match=r"'resnet.stage0.0.weight' is no tensor of a SyncSAM"):
        to_predecessor_layout({"resnet.stage0.0.weight": torch.zeros(1)})
