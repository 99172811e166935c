"""ScribblePrompt-UNet, reproduced number by number from its golden file."""

from __future__ import annotations

import pytest
import torch

from syncsam_lightning.models import ImageFeatures, load_weights
from syncsam_lightning.models.baselines import ScribblePromptUNet
from syncsam_lightning.prompts import Prompts

TOLERANCE = 1e-4
MODES = {"box": {"boxes"}, "points": {"points"}, "box_points_mask": {"boxes", "points", "masks"}}


@pytest.fixture(scope="module")
def golden(read_golden):
    return read_golden("scribbleprompt_unet")


@pytest.fixture(scope="module")
def loaded(golden):
    model = ScribblePromptUNet().eval()
    return model, load_weights(model, golden.state_dict, strict=True)


def test_names_shapes_and_count_are_the_official_file_s(loaded, golden):
    model, report = loaded
    assert report.layout == "scribbleprompt"
    ours = {key: tensor.shape for key, tensor in model.state_dict().items()}
    assert ours == {key: tensor.shape for key, tensor in golden.state_dict.items()}
    assert sum(parameter.numel() for parameter in model.parameters()) == 3_991_882


@pytest.mark.parametrize("mode", MODES)
def test_logits_agree(loaded, golden, mode):
    model, kinds, arrays = loaded[0], MODES[mode], golden.arrays
    prompts = Prompts(
        image_index=torch.arange(3),
        boxes=arrays["box"].squeeze(1) if "boxes" in kinds else None,
        points=arrays["point_coords"] if "points" in kinds else None,
        point_labels=arrays["point_labels"] if "points" in kinds else None,
        mask_logits=arrays["mask_input"].squeeze(1) if "masks" in kinds else None,
    )
    with torch.no_grad():
        logits = model.decode(ImageFeatures(arrays["image"]), prompts)
    expected = arrays[f"logits_{mode}"].squeeze(1)
    assert logits.shape == expected.shape == (3, 128, 128)
    for found, one in zip(logits, expected, strict=True):
        assert ((found - one).norm() / one.norm()).item() < TOLERANCE
