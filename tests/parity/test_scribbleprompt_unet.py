"""ScribblePrompt-UNet, reproduced number by number from its golden file."""

from __future__ import annotations

import pytest
import torch

from syncsam_lightning.models import ImageFeatures, ScribblePromptUNet, load_weights
from syncsam_lightning.prompts import Prompts

NAME = "scribbleprompt_unet"
TOLERANCE = 1e-4
MODES = {"box": {"boxes"}, "points": {"points"}, "box_points_mask": {"boxes", "points", "masks"}}


@pytest.fixture(scope="module")
def loaded(golden_shapes, seeded_state_dict):
    model = ScribblePromptUNet().eval()
    return model, load_weights(model, seeded_state_dict(golden_shapes(NAME)), strict=True)


def test_names_shapes_and_count_are_the_official_file_s(loaded, golden_shapes):
    model, report = loaded
    assert report.layout == "scribbleprompt"
    shapes = {key: list(value.shape) for key, value in model.state_dict().items()}
    assert shapes == golden_shapes(NAME)
    assert sum(parameter.numel() for parameter in model.parameters()) == 3_991_882


@pytest.mark.parametrize("mode", MODES)
def test_logits_agree(loaded, golden_arrays, relative_error, mode):
    arrays, kinds = golden_arrays(NAME), MODES[mode]
    prompts = Prompts(
        image_index=torch.arange(3),
        boxes=arrays["box"].squeeze(1) if "boxes" in kinds else None,
        points=arrays["point_coords"] if "points" in kinds else None,
        point_labels=arrays["point_labels"] if "points" in kinds else None,
        mask_logits=arrays["mask_input"].squeeze(1) if "masks" in kinds else None,
    )
    with torch.no_grad():
        logits = loaded[0].decode(ImageFeatures(arrays["image"]), prompts)
    expected = arrays[f"logits_{mode}"].squeeze(1)
    assert logits.shape == expected.shape == (3, 128, 128)
    for found, one in zip(logits, expected, strict=True):
        assert relative_error(found, one) < TOLERANCE
