"""The authors' arrangement, reproduced number by number from the golden files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch

from syncsam_lightning.models import ImageFeatures, LoadReport, SyncSAM, load_weights
from syncsam_lightning.models.weights.renaming import rename_weights

TOLERANCE = 1e-4
COUNTS = {"resnet34": (116_019_884, 25_982_028), "resnet50": (138_428_204, 48_390_348)}
MODES = {
    "box": ("boxes",),
    "points": ("points",),
    "box_points": ("boxes", "points"),
    "points_mask": ("points", "masks"),
}


@dataclass
class Golden:
    model: SyncSAM
    report: LoadReport
    shapes: dict[str, list[int]]
    arrays: dict[str, torch.Tensor]
    features: ImageFeatures


@pytest.fixture(scope="module", params=sorted(COUNTS))
def golden(request, golden_shapes, golden_arrays, seeded_state_dict) -> Iterator[Golden]:
    name = request.param.replace("resnet", "syncsam")
    shapes, arrays = golden_shapes(name), golden_arrays(name)
    model = SyncSAM(cnn=request.param).eval()
    report = load_weights(model, seeded_state_dict(shapes))
    with torch.no_grad():
        yield Golden(model, report, shapes, arrays, model.encode(arrays["image"]))


def test_parameter_counts_are_the_paper_s(golden):
    parameters = list(golden.model.parameters())
    total = sum(p.numel() for p in parameters)
    trainable = sum(p.numel() for p in parameters if p.requires_grad)
    assert (total, trainable) == COUNTS[golden.model.architecture.cnn]


def test_every_tensor_of_the_predecessor_has_its_place(golden):
    report = golden.report
    assert report.layout == "predecessor"
    assert set(report.loaded) == set(golden.model.state_dict())
    assert (report.missing, report.unexpected, report.resized) == ((), (), ())


def test_names_and_shapes_translate_back(golden):
    exported = rename_weights(golden.model)
    assert exported.left_out == ()
    assert {key: list(value.shape) for key, value in exported.state_dict.items()} == golden.shapes


def test_the_image_embedding_agrees(golden, relative_error):
    error = relative_error(golden.features.embedding, golden.arrays["image_embedding"])
    assert error < TOLERANCE


def test_the_multi_scale_map_agrees(golden, relative_error):
    error = relative_error(golden.features.multi_scale, golden.arrays["multi_scale"])
    assert error < TOLERANCE


@pytest.mark.parametrize("mode", MODES)
def test_logits_agree(golden, golden_prompts, relative_error, mode):
    logits = golden.model.decode(golden.features, golden_prompts(*MODES[mode]))
    expected = golden.arrays[f"logits_{mode}"].flatten(0, 2)
    assert logits.shape == expected.shape == (6, 64, 64)
    for found, one in zip(logits, expected, strict=True):
        assert relative_error(found, one) < TOLERANCE
