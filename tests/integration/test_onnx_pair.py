"""docs/onnx_pair.py, which knows nothing of this package, resizes and places images as it does."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from syncsam_lightning.data.transforms import resize_image
from syncsam_lightning.geometry import ResizePlan

pytest.importorskip("onnxruntime")
FILE = Path(__file__).parents[2] / "docs/onnx_pair.py"


@pytest.fixture(scope="module")
def onnx_pair() -> ModuleType:
    spec = importlib.util.spec_from_file_location("onnx_pair", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("shape", [(33, 64), (90, 41), (200, 300)])
def test_images_are_resized_alike(onnx_pair: ModuleType, shape: tuple[int, int]):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    plan = ResizePlan(*shape, 64)
    shrinks = plan.resized[0] < shape[0] or plan.resized[1] < shape[1]
    found = np.rint(onnx_pair.resample(image, plan.resized, by_area=shrinks))
    # cv2 computes in whole numbers and may round the other way.
    assert abs(found - resize_image(image, *plan.resized)).max() <= 1


@pytest.mark.parametrize("new", [(64, 64), (37, 20), (9, 100)])
def test_logits_are_resized_alike(onnx_pair: ModuleType, new: tuple[int, int]):
    logits = np.random.default_rng(0).normal(size=(16, 30)).astype(np.float32)
    found = onnx_pair.resample(logits[..., None], new, by_area=False)[..., 0]
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(logits)[None, None], new, mode="bilinear", align_corners=False
    )
    np.testing.assert_allclose(found, expected[0, 0], atol=1e-5)


@pytest.mark.parametrize("fit", ["pad", "stretch", "center"])
@pytest.mark.parametrize("shape", [(40, 31), (63, 64), (100, 70), (5, 1000)])
def test_images_are_placed_alike(onnx_pair: ModuleType, fit: str, shape: tuple[int, int]):
    pair = onnx_pair.OnnxPair.__new__(onnx_pair.OnnxPair)
    pair.size, pair.fit = 64, fit
    pair.place(shape)
    plan = ResizePlan(*shape, 64, fit)
    assert (tuple(pair.inside), tuple(pair.corner)) == (plan.resized, plan.origin)
