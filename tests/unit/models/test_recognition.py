"""Weights tell by names and shapes which model they are of, and how large it is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from syncsam_lightning.errors import ModelSettingsError, WeightsError
from syncsam_lightning.models import (
    FTSAM,
    SAM,
    IMISNet,
    MedSAM,
    PromptableModel,
    SAMMed2D,
    ScribblePromptSAM,
    ScribblePromptUNet,
    SyncSAM,
)
from syncsam_lightning.models.recognition import recognise, sizes
from syncsam_lightning.models.settings import ModelSettings
from syncsam_lightning.models.size_limit import SizeLimit
from syncsam_lightning.models.syncsam.layouts import to_predecessor_layout
from syncsam_lightning.models.weights.renaming import rename_weights

GOLDEN = Path(__file__).parents[2] / "parity/golden"
VIT = {"image_size": 96, "vit_width": 24, "vit_depth": 8, "vit_heads": 3, "window_size": 4}
PUBLISHED_VIT = {
    "image_size": 256,
    "vit_width": 768,
    "vit_depth": 12,
    "vit_heads": 12,
    "window_size": 14,
}
UNDER_SAMS_NAMES = [SAM, MedSAM, FTSAM, ScribblePromptSAM]


def without_data(shapes: dict[str, list[int]]) -> dict[str, Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("file", "name", "expected"),
    [
        ("syncsam34", "SyncSAM", PUBLISHED_VIT | {"cnn": "resnet34"}),
        ("syncsam50", "SyncSAM", PUBLISHED_VIT | {"cnn": "resnet50"}),
        ("sam_med2d", "SAMMed2D", PUBLISHED_VIT),
        ("imis_net", "IMISNet", PUBLISHED_VIT | {"image_size": 1024, "embed_dim": 768}),
        ("scribbleprompt_unet", "ScribblePromptUNet", {"width": 192, "depth": 4}),
    ],
)
def test_published_files_are_recognised(file: str, name: str, expected: dict[str, Any]):
    shapes = json.loads((GOLDEN / f"{file}_keys.json").read_text())
    found = recognise(without_data(shapes), "x.pth")
    assert found.class_path == f"syncsam_lightning.models.{name}"
    assert found.init_args.items() >= expected.items()


MADE: dict[str, Callable[[], PromptableModel]] = {
    "SyncSAM, whole": lambda: SyncSAM(cnn="resnet18", **VIT),
    "SyncSAM-50": lambda: SyncSAM(cnn="resnet50", **VIT),
    "SyncSAM, row 1": lambda: SyncSAM(cnn="none", med_token=False, multi_scale=False, **VIT),
    "SyncSAM, CNN alone": lambda: SyncSAM(cnn="resnet34", vit="none", vit_width=24, vit_heads=3),
    "SAMMed2D": lambda: SAMMed2D(**VIT),
    "IMISNet": lambda: IMISNet(embed_dim=48, **VIT),
    "ScribblePromptUNet": lambda: ScribblePromptUNet(width=6, depth=2),
}


@pytest.mark.parametrize("layout", ["official", "own"])
@pytest.mark.parametrize("name", MADE)
def test_what_is_built_from_weights_has_their_shapes(name: str, layout: str):
    with torch.device("meta"):
        model = MADE[name]()
    if layout == "official":
        state_dict = dict(rename_weights(model).state_dict)
    else:
        state_dict = model.state_dict()
    with torch.device("meta"):
        again = recognise(state_dict, "x.pth").build("x.pth")
    assert type(again) is type(model)
    expected = {key: tensor.shape for key, tensor in model.state_dict().items()}
    assert {key: tensor.shape for key, tensor in again.state_dict().items()} == expected
    assert again.input_spec == model.input_spec


@pytest.mark.parametrize("cls", UNDER_SAMS_NAMES)
def test_of_models_that_share_sams_names_the_user_is_asked_which(cls: type[PromptableModel]):
    with torch.device("meta"):
        state_dict = cls(**VIT).state_dict()
    with pytest.raises(WeightsError) as refusal:
        recognise(state_dict, "medsam_vit_b.pth")
    assert str(refusal.value).startswith(
        "medsam_vit_b.pth has SAM's names, which SAM, MedSAM, FTSAM and ScribblePromptSAM share"
    )
    assert "--network MedSAM" in str(refusal.value)
    assert sizes(state_dict, cls) == VIT


def test_what_nobody_knows_is_refused():
    with pytest.raises(
        WeightsError, match=r"x\.pth does not say which model .* none that is known"
    ):
        recognise({"encoder.weight": torch.zeros(2, 2)}, "x.pth")


WHOLE = {"cnn": "resnet18", **VIT}


@pytest.mark.parametrize("layout", ["official", "own"])
@pytest.mark.parametrize(
    ("left_out", "message"),
    [
        ("image_encoder.cnn.", "x.pth holds the adapters of a CNN, but not the CNN itself"),
        ("image_encoder.", "x.pth holds no image encoder of a SyncSAM"),
    ],
)
def test_a_syncsam_without_its_encoder_is_not_taken_for_an_ablation(
    layout: str, left_out: str, message: str
):
    with torch.device("meta"):
        model = SyncSAM(**WHOLE)
    kept = {k: v for k, v in model.state_dict().items() if not k.startswith(left_out)}
    if layout == "official":
        kept = to_predecessor_layout(kept)
    with pytest.raises(WeightsError, match=message):
        recognise(kept, "x.pth")
    with pytest.raises(WeightsError, match=message):
        sizes(kept, SyncSAM, "x.pth")


@pytest.mark.parametrize(
    "left_out",
    [
        "mask_decoder.med_token.",
        "mask_decoder.med_mlp.",
        "image_encoder.bridges.",
        "image_encoder.embedding_encoder.",
        "image_encoder.vit.pos_embed",
        "image_encoder.cnn.layer1.",
    ],
)
def test_half_a_part_is_asked_for_whole(left_out: str):
    with torch.device("meta"):
        model = SyncSAM(**WHOLE)
        kept = {k: v for k, v in model.state_dict().items() if not k.startswith(left_out)}
        again = recognise(kept, "x.pth").build("x.pth")
    assert any(key.startswith(left_out) for key in again.state_dict())


def test_of_a_part_of_the_weights_what_is_there_is_told():
    with torch.device("meta"):
        state_dict = SAM(**VIT).state_dict()
    blocks = {key: tensor for key, tensor in state_dict.items() if ".blocks." in key}
    assert sizes(blocks, SAM) == {}
    assert sizes({"image_encoder.pos_embed": torch.zeros(3)} | blocks, SAM) == {}
    assert sizes(state_dict, ScribblePromptUNet) == {}


def test_shapes_that_say_nothing_are_passed_over():
    state_dict = {
        "image_encoder.vit.pos_embed": torch.zeros(1, 4, 4, 8),
        "image_encoder.vit.blocks.0.attn.rel_pos_h": torch.zeros(7, 0),
        "image_encoder.neck.0.weight": torch.zeros(3),
    }
    assert sizes(state_dict, SyncSAM).items() >= {"image_size": 64, "vit_width": 8}.items()
    assert sizes({"final_conv.conv.0.weight": torch.zeros(())}, ScribblePromptUNet) == {"depth": 0}


def test_a_tensor_that_is_declared_larger_than_its_file_takes_no_memory(tmp_path: Path):
    state_dict = SAM(**VIT).state_dict()
    # One number in the file, whatever it is expanded to.
    state_dict["image_encoder.pos_embed"] = torch.zeros(1, 1, 1, 1).expand(1, 6, 6, 10**9)
    torch.save(state_dict, tmp_path / "x.pth")
    found = torch.load(tmp_path / "x.pth", weights_only=True)
    settings = ModelSettings("syncsam_lightning.models.SAM", sizes(found, SAM))
    assert settings.init_args["vit_width"] == 10**9
    with pytest.raises(ModelSettingsError, match="for which its file has no weights"):
        settings.check_size("x.pth", SizeLimit.of(found))
    ModelSettings(settings.class_path, VIT).check_size("x.pth", SizeLimit.of(found))
