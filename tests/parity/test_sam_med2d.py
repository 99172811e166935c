"""SAM-Med2D, reproduced number by number from its golden file."""

from __future__ import annotations

import pytest
import torch

from syncsam_lightning.models import SAMMed2D, load_weights
from syncsam_lightning.models.weights.renaming import rename_weights

TOLERANCE = 1e-4
MODES = {"box": ("boxes",), "points_mask": ("points", "masks")}


@pytest.fixture(scope="module")
def loaded(golden_shapes, seeded_state_dict):
    model = SAMMed2D().eval()
    return model, load_weights(model, seeded_state_dict(golden_shapes("sam_med2d")), strict=True)


@pytest.fixture(scope="module")
def features(loaded, golden_image):
    with torch.no_grad():
        return loaded[0].encode(golden_image)


def test_every_tensor_of_the_official_layout_has_its_place(loaded, golden_shapes):
    model, report = loaded
    shapes = {key: list(value.shape) for key, value in model.state_dict().items()}
    assert shapes == golden_shapes("sam_med2d")
    assert (report.layout, report.resized) == ("sam", ())


def test_names_and_shapes_translate_back(loaded, golden_shapes):
    exported = rename_weights(loaded[0])
    assert exported.left_out == ()
    shapes = {key: list(value.shape) for key, value in exported.state_dict.items()}
    assert shapes == golden_shapes("sam_med2d")


def test_parameter_counts_are_those_of_the_official_code(loaded):
    parameters = dict(loaded[0].named_parameters())
    adapters = sum(p.numel() for name, p in parameters.items() if ".Adapter." in name)
    total = sum(p.numel() for p in parameters.values())
    trained = sum(p.numel() for p in parameters.values() if p.requires_grad)
    assert (total, adapters) == (271_241_776, 180_504_576)
    # Prompt encoder and decoder, but for what makes the mask that SAM-Med2D never chooses.
    idle = sum(p.numel() for name, p in parameters.items() if "hypernetworks_mlps.0" in name)
    assert trained == adapters + 6_220 + 4_058_340 - idle


def test_the_image_embedding_agrees(features, golden_arrays, relative_error):
    expected = golden_arrays("sam_med2d")["image_embedding"]
    assert relative_error(features.embedding, expected) < TOLERANCE


@pytest.mark.parametrize("mode", MODES)
def test_the_three_masks_and_their_predicted_iou_agree(
    loaded, features, golden_arrays, golden_prompts, relative_error, mode
):
    arrays = golden_arrays("sam_med2d")
    with torch.no_grad():
        found = loaded[0].candidates(features, golden_prompts(*MODES[mode]))
    expected = arrays[f"logits_{mode}"].flatten(0, 1)
    for ours, theirs in zip(found.logits[:, 1:], expected, strict=True):
        assert relative_error(ours, theirs) < TOLERANCE
    iou = arrays[f"iou_{mode}"].flatten(0, 1)
    assert relative_error(found.predicted_iou[:, 1:], iou) < TOLERANCE


def test_the_answer_is_the_mask_of_the_highest_predicted_iou(
    loaded, features, golden_arrays, golden_prompts, relative_error
):
    arrays = golden_arrays("sam_med2d")
    best = arrays["iou_points_mask"].flatten(0, 1).argmax(1)
    assert len(set(best.tolist())) > 1  # or the test would show nothing
    expected = arrays["logits_points_mask"].flatten(0, 1)[torch.arange(6), best]
    with torch.no_grad():
        logits = loaded[0].decode(features, golden_prompts("points", "masks"))
    assert relative_error(logits, expected) < TOLERANCE
