"""IMIS-Net, reproduced number by number from its golden file."""

from __future__ import annotations

import pytest
import torch

from syncsam_lightning.models import IMISNet, load_weights
from syncsam_lightning.models.weights.renaming import rename_weights

NAME = "imis_net"
TOLERANCE = 1e-4
MODES = {"box": ("boxes",), "points_mask": ("points", "masks")}
NEVER_COMPUTED = "image_encoder.sam_encoder.neck."


@pytest.fixture(scope="module")
def loaded(golden_shapes, seeded_state_dict):
    model = IMISNet(image_size=256).eval()
    return model, load_weights(model, seeded_state_dict(golden_shapes(NAME)), strict=True)


@pytest.fixture(scope="module")
def features(loaded, golden_image):
    with torch.no_grad():
        return loaded[0].encode(golden_image)


def test_every_tensor_has_its_place_but_the_neck_that_is_never_computed(loaded, golden_shapes):
    model, report = loaded
    names = set(golden_shapes(NAME))
    assert report.layout == "imis"
    assert set(report.loaded) == set(model.state_dict())
    assert set(report.unused) == {name for name in names if name.startswith(NEVER_COMPUTED)}
    assert len(report.loaded) + len(report.unused) == len(names)
    # The file is made for 1024 pixels: absolute positions, and two tables of four global blocks.
    assert len(report.resized) == 1 + 4 * 2


def test_names_translate_back_but_for_the_neck(loaded, golden_shapes):
    exported = rename_weights(loaded[0])
    assert exported.left_out == ()
    names = {name for name in golden_shapes(NAME) if not name.startswith(NEVER_COMPUTED)}
    assert set(exported.state_dict) == names
    assert NEVER_COMPUTED in exported.summary()


@pytest.mark.parametrize(
    ("part", "count"),
    [
        ("image_encoder.neck", 5_901_312),
        ("prompt_encoder", 17_996),
        ("mask_decoder", 23_366_404),
        ("mask_decoder.transformer", 16_943_488),
    ],
)
def test_parameter_counts_are_those_of_the_official_code(loaded, part, count):
    assert sum(p.numel() for p in loaded[0].get_submodule(part).parameters()) == count


def test_the_image_embedding_agrees(features, golden_arrays, relative_error):
    expected = golden_arrays(NAME)["image_embedding"]
    assert relative_error(features.embedding, expected) < TOLERANCE


@pytest.mark.parametrize("mode", MODES)
def test_the_three_masks_and_their_predicted_iou_agree(
    loaded, features, golden_arrays, golden_prompts, relative_error, mode
):
    arrays = golden_arrays(NAME)
    with torch.no_grad():
        found = loaded[0].candidates(features, golden_prompts(*MODES[mode]))
    masks, expected = found.logits[:, 1:], arrays[f"logits_{mode}"]
    assert masks.shape == expected.shape == (6, 3, 64, 64)
    for ours, theirs in zip(masks.flatten(0, 1), expected.flatten(0, 1), strict=True):
        assert relative_error(ours, theirs) < TOLERANCE
    assert relative_error(found.predicted_iou[:, 1:], arrays[f"iou_{mode}"]) < TOLERANCE


def test_the_answer_is_the_mask_of_the_highest_predicted_iou(
    loaded, features, golden_arrays, golden_prompts, relative_error
):
    arrays = golden_arrays(NAME)
    expected = arrays["logits_box"][torch.arange(6), arrays["iou_box"].argmax(1)]
    with torch.no_grad():
        logits = loaded[0].decode(features, golden_prompts("boxes"))
    assert relative_error(logits, expected) < TOLERANCE
