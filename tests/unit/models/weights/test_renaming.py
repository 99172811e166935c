"""Weights go to official names and come back bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from syncsam_lightning.errors import WeightsError
from syncsam_lightning.models import (
    SAM,
    IMISNet,
    MedSAM,
    PromptableModel,
    SAMMed2D,
    ScribblePromptUNet,
    SyncSAM,
    load_weights,
    weights_checksum,
)
from syncsam_lightning.models.weights.checkpoint_file import read_state_dict
from syncsam_lightning.models.weights.renaming import check_round_trip, rename_weights

VIT = {"image_size": 64, "vit_width": 32, "vit_depth": 4, "vit_heads": 2, "window_size": 3}
MODELS: dict[str, tuple[Callable[[], PromptableModel], str]] = {
    "SyncSAM": (lambda: SyncSAM(cnn="resnet18", **VIT), "predecessor"),
    "SAM": (lambda: SAM(**VIT), "sam"),
    "MedSAM": (lambda: MedSAM(**VIT), "sam"),
    "SAMMed2D": (lambda: SAMMed2D(**VIT), "sam"),
    "IMISNet": (lambda: IMISNet(embed_dim=48, **VIT), "imis"),
    "ScribblePromptUNet": (lambda: ScribblePromptUNet(width=4, depth=2), "scribbleprompt"),
}


@pytest.mark.parametrize("name", MODELS)
def test_official_names_and_back_is_bit_for_bit(name: str, tmp_path: Path):
    make, layout = MODELS[name]
    model = make()
    renamed = rename_weights(model)
    assert (renamed.layout.name, renamed.left_out) == (layout, ())
    torch.save(dict(renamed.state_dict), tmp_path / "official.pth")
    read = read_state_dict(tmp_path / "official.pth")
    check_round_trip(model, renamed, read)
    again = make()
    assert weights_checksum(again) != weights_checksum(model)
    report = load_weights(again, tmp_path / "official.pth", strict=True)
    assert report.layout == layout
    assert weights_checksum(again) == weights_checksum(model)


def test_what_another_layout_has_no_place_for_is_listed():
    renamed = rename_weights(SyncSAM(cnn="resnet18", **VIT), "sam")
    assert "image_encoder.blocks.0.norm1.weight" in renamed.state_dict
    assert any(key.startswith("image_encoder.cnn.") for key in renamed.left_out)
    assert "no place for" in renamed.summary()


def test_an_unknown_layout_is_told_with_the_known_ones():
    with pytest.raises(WeightsError, match="no layout 'meta'; known are official, and sam"):
        rename_weights(MedSAM(**VIT), "meta")


def test_what_the_official_file_has_besides_is_told():
    summary = rename_weights(IMISNet(embed_dim=48, **VIT)).summary()
    assert "text_model." in summary


def test_a_file_that_holds_something_else_is_noticed():
    model = ScribblePromptUNet(width=4, depth=2)
    renamed = rename_weights(model)
    wrong = {key: tensor.clone() for key, tensor in renamed.state_dict.items()}
    wrong["final_conv.conv.0.bias"][0] += 1
    with pytest.raises(WeightsError, match=r"final_conv\.conv\.0\.bias is not what was written"):
        check_round_trip(model, renamed, wrong)
    del wrong["final_conv.conv.0.bias"]
    with pytest.raises(WeightsError, match=r"final_conv\.conv\.0\.bias is not"):
        check_round_trip(model, renamed, wrong)
