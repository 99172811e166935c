"""IMIS-Net, reproduced number by number from its golden file."""

from __future__ import annotations

import pytest
import torch

from syncsam_lightning.models import load_weights
from syncsam_lightning.models.baselines import IMISNet
from syncsam_lightning.prompts import Prompts

TOLERANCE = 1e-4
MODES = {"box": {"boxes"}, "points_mask": {"points", "masks"}}
NEVER_COMPUTED = "image_encoder.sam_encoder.neck."


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


@pytest.fixture(scope="module")
def golden(read_golden):
    return read_golden("imis_net")


@pytest.fixture(scope="module")
def inputs(read_golden_arrays):
    return read_golden_arrays("syncsam34")


@pytest.fixture(scope="module")
def loaded(golden):
    model = IMISNet(image_size=256).eval()
    return model, load_weights(model, golden.state_dict, strict=True)


@pytest.fixture(scope="module")
def features(loaded, inputs):
    with torch.no_grad():
        return loaded[0].encode(inputs["image"])


def prompts(inputs, mode: str) -> Prompts:
    objects = {
        name: inputs[name].flatten(0, 1)
        for name in ("boxes", "point_coords", "point_labels", "mask_input")
    }
    kinds = MODES[mode]
    return Prompts(
        image_index=torch.tensor([0, 0, 0, 1, 1, 1]),
        boxes=objects["boxes"] if "boxes" in kinds else None,
        points=objects["point_coords"] if "points" in kinds else None,
        point_labels=objects["point_labels"] if "points" in kinds else None,
        mask_logits=objects["mask_input"].squeeze(1) if "masks" in kinds else None,
    )


def test_every_tensor_has_its_place_but_the_neck_that_is_never_computed(loaded, golden):
    model, report = loaded
    assert report.layout == "imis"
    assert set(report.loaded) == set(model.state_dict())
    assert set(report.unused) == {k for k in golden.state_dict if k.startswith(NEVER_COMPUTED)}
    assert len(report.loaded) + len(report.unused) == len(golden.state_dict)
    # The golden weights are those of 1024 pixels: absolute positions, and four global blocks.
    assert len(report.resized) == 1 + 4 * 2


def test_parameter_counts_are_the_published_ones(loaded):
    def count(part: str) -> int:
        return sum(p.numel() for p in loaded[0].get_submodule(part).parameters())

    assert count("image_encoder.neck") == 5_901_312
    assert count("prompt_encoder") == 17_996
    assert count("mask_decoder") == 23_366_404


def test_the_image_embedding_agrees(features, golden):
    assert relative_error(features.embedding, golden.arrays["image_embedding"]) < TOLERANCE


@pytest.mark.parametrize("mode", MODES)
def test_three_masks_and_their_predicted_iou_agree(loaded, features, inputs, golden, mode):
    with torch.no_grad():
        found = loaded[0].candidates(features, prompts(inputs, mode))
    expected = golden.arrays[f"logits_{mode}"]
    assert found.all().shape == expected.shape == (6, 3, 64, 64)
    for masks, one in zip(found.all().flatten(0, 1), expected.flatten(0, 1), strict=True):
        assert relative_error(masks, one) < TOLERANCE
    assert relative_error(found.predicted_iou, golden.arrays[f"iou_{mode}"]) < TOLERANCE


@pytest.mark.parametrize("mode", MODES)
def test_the_answer_is_the_mask_of_the_highest_predicted_iou(
    loaded, features, inputs, golden, mode
):
    with torch.no_grad():
        logits = loaded[0].decode(features, prompts(inputs, mode))
    best = golden.arrays[f"iou_{mode}"].argmax(1)
    expected = golden.arrays[f"logits_{mode}"][torch.arange(6), best]
    assert relative_error(logits, expected) < TOLERANCE
