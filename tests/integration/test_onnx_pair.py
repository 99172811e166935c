"""docs/onnx_pair.py, without this package, prepares images and prompts as it does."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from syncsam_lightning.data.resize import resize_image
from syncsam_lightning.geometry import Fit, ResizePlan
from syncsam_lightning.prediction import rgb_pixels
from syncsam_lightning.prompts import MixedPrompts, Prompts

pytest.importorskip("onnxruntime")
FILE = Path(__file__).parents[2] / "docs/onnx_pair.py"


@pytest.fixture(scope="module")
def onnx_pair() -> ModuleType:
    spec = importlib.util.spec_from_file_location("onnx_pair", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("fit", ["pad", "stretch"])
@pytest.mark.parametrize("shape", [(33, 64), (90, 41), (200, 300), (20, 500)])
def test_images_are_resized_alike(onnx_pair: ModuleType, shape: tuple[int, int], fit: Fit):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    plan = ResizePlan(*shape, 64, fit)
    found = np.rint(onnx_pair.resample(image, plan.resized, by_area=True))
    # cv2 computes in whole numbers, side by side, and may round the other way each time.
    assert abs(found - resize_image(image, *plan.resized)).max() <= 2


@pytest.mark.parametrize("new", [(64, 64), (37, 20), (9, 100)])
def test_logits_are_resized_alike(onnx_pair: ModuleType, new: tuple[int, int]):
    logits = np.random.default_rng(0).normal(size=(16, 30)).astype(np.float32)
    found = onnx_pair.resample(logits[..., None], new, by_area=False)[..., 0]
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(logits)[None, None], new, mode="bilinear", align_corners=False
    )
    np.testing.assert_allclose(found, expected[0, 0], atol=1e-5)


def placed(onnx_pair: ModuleType, shape: tuple[int, int], fit: str = "pad") -> Any:
    """A pair without its files that knows where an image lies."""
    pair = onnx_pair.OnnxPair.__new__(onnx_pair.OnnxPair)
    pair.size, pair.mask_size, pair.fit, pair.feedback = 64, 16, fit, "logits"
    pair.kinds, pair.features = {"boxes", "points", "masks"}, {}
    pair.place(shape)
    return pair


@pytest.mark.parametrize("fit", ["pad", "stretch", "center"])
@pytest.mark.parametrize("shape", [(40, 31), (63, 64), (100, 70), (5, 1000)])
def test_images_are_placed_alike(onnx_pair: ModuleType, fit: str, shape: tuple[int, int]):
    pair = placed(onnx_pair, shape, fit)
    plan = ResizePlan(*shape, 64, fit)
    assert (tuple(pair.inside), tuple(pair.corner)) == (plan.resized, plan.origin)


@pytest.mark.parametrize("channels", [None, 1, 3, 4])
def test_grey_and_transparent_images_become_alike(onnx_pair: ModuleType, channels: int | None):
    shape = (5, 7) if channels is None else (5, 7, channels)
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    np.testing.assert_array_equal(onnx_pair.rgb(image), rgb_pixels(image))


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((5, 7, 3)), "uint8, got float64"),
        (np.zeros((5, 7), np.uint16), "uint8, got uint16"),
        (np.zeros((3, 5, 7), np.uint8), r"got \(3, 5, 7\)"),
        (np.zeros((0, 7), np.uint8), r"got \(0, 7\)"),
        (np.zeros(7, np.uint8), r"got \(7,\)"),
    ],
)
def test_what_is_no_image_is_refused(onnx_pair: ModuleType, image: np.ndarray, words: str):
    with pytest.raises(ValueError, match=words):
        onnx_pair.rgb(image)


@pytest.mark.parametrize("fit", ["pad", "stretch", "center"])
@pytest.mark.parametrize("kinds", ["box", "points", "both"])
def test_prompts_are_told_alike(onnx_pair: ModuleType, fit: str, kinds: str):
    box = None if kinds == "points" else [3, 4.5, 31, 40]
    points, labels = (None, None) if kinds == "box" else ([[0, 39], [30.25, 7], [1, 2]], [1, 0, 1])
    coords, found = placed(onnx_pair, (40, 31), fit).prompt(box, points, labels)
    plan = ResizePlan(40, 31, 64, fit)
    prompts = Prompts(
        torch.tensor([0]),
        boxes=None if box is None else plan.boxes_to_model(torch.tensor([box])),
        points=None if points is None else plan.points_to_model(torch.tensor([points])),
        point_labels=None if labels is None else torch.tensor([labels]),
    )
    expected = MixedPrompts.of(prompts, 16)
    np.testing.assert_allclose(coords, expected.points[0], atol=1e-5)
    assert found == expected.point_labels[0].tolist()


def test_clicks_without_labels_lie_on_the_object(onnx_pair: ModuleType):
    pair = placed(onnx_pair, (40, 31))
    assert pair.prompt(None, [[1, 2], [3, 4]], None)[1] == [1, 1, onnx_pair.NOTHING]


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ({"box": [30, 4, 3, 40]}, "x0 < x1"),
        ({"box": [3, 4, 3, 40]}, "x0 < x1"),
        ({"box": [3, 4, 32, 40]}, "on the image"),
        ({"box": [-1, 4, 31, 40]}, "on the image"),
        ({"box": [3, 4, float("nan"), 40]}, "x0 < x1"),
        ({"box": [3, 4, 31]}, r"box must be \(4\) numbers, got the shape \(3,\)"),
        ({"box": []}, r"box must be \(4\) numbers, got the shape \(0,\)"),
        ({"box": [3, 4, "x", 9]}, r"box must be \(4\) numbers: could not convert"),
        (
            {"points": [[1, 4, 1], [2, 5, 0]]},
            r"points must be \(P, 2\) numbers, got the shape \(2, 3\)",
        ),
        ({"points": [1, 4]}, r"points must be \(P, 2\) numbers, got the shape \(2,\)"),
        ({"points": [[1, 4], [2]]}, r"points must be \(P, 2\) numbers: "),
        ({"points": np.array([[1, 4]]), "labels": np.array([2])}, r"got \[2\]"),
        ({"points": [[1, 4]], "labels": 1}, "labels are 1 or 0 for each of 1 points, got 1"),
        ({"points": []}, "no prompt"),
        (
            {"points": [[1, 4]], "previous": np.zeros((16, 16), bool)},
            "previous is .* finite logits",
        ),
        ({"points": [[1, 4]], "previous": "x"}, r"previous must be \(16, 16\) numbers"),
        ({"points": [[31, 4]]}, "not all on the image"),
        ({"points": [[float("nan"), 4]]}, "not all on the image"),
        ({"points": [[1, 4], [2, 5]], "labels": [1]}, "each of 2 points"),
        ({"points": [[1, 4]], "labels": [-1]}, r"got \[-1\]"),
        ({"labels": [1]}, "each of 0 points"),
        ({}, "no prompt"),
        (
            {"box": [3, 4, 31, 40], "previous": np.zeros((8, 8), np.float32)},
            r"\(16, 16\) numbers, got",
        ),
        ({"points": [[1, 4]], "previous": np.full((16, 16), np.nan)}, "previous"),
    ],
)
def test_a_wrong_prompt_is_refused(onnx_pair: ModuleType, prompt: dict[str, Any], words: str):
    pair = placed(onnx_pair, (40, 31))
    pair.features = {"image_embeddings": np.zeros((1, 1, 4, 4), np.float32)}
    with pytest.raises(ValueError, match=words):
        pair.decode(**prompt)


class Recorder:
    """Stands for a decoder, and keeps what it is asked."""

    NAMES = ("point_coords", "point_labels", "mask_input", "has_mask_input")

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name=name) for name in self.NAMES]

    def run(self, _: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.inputs = inputs
        return [inputs["mask_input"]]


def test_arrays_and_lists_of_any_type_ask_the_same(onnx_pair: ModuleType):
    pair = placed(onnx_pair, (40, 31))
    pair.features, pair.decoder = {"image_embeddings": np.zeros(1)}, Recorder()
    previous = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    asked = []
    for points, labels, before in (
        ([[3, 4], [5, 6]], [1, 0], previous),
        (np.array([[3, 4], [5, 6]]), np.array([1, 0]), previous.astype(np.float64)),
        (((3, 4), (5, 6)), np.array([True, False]), previous.tolist()),
    ):
        pair.decode(points=points, labels=labels, previous=before)
        asked.append(pair.decoder.inputs)
    for other in asked:
        for name, value in asked[0].items():
            assert other[name].dtype == value.dtype
            np.testing.assert_array_equal(other[name], value)


def test_an_image_that_is_no_array_is_refused(onnx_pair: ModuleType):
    with pytest.raises(ValueError, match="an image is a numpy array, got list"):
        onnx_pair.rgb([[0, 1]])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["exp", "a.npy"], "usage: python onnx_pair.py"),
        (["exp", "none.npy", "1", "2", "3", "4"], r"No such file .*none\.npy"),
        (["exp", "a.png", "1", "2", "3", "4"], r"a\.png is no \.npy file"),
        (["nowhere", "a.npy", "1", "2", "3", "4"], r"nowhere has no encoder\.onnx"),
        (["exp", "a.npy", "1", "2", "x", "4"], r"box must be \(4\) numbers: could not convert"),
    ],
)
def test_the_script_says_what_is_wrong_with_its_arguments(
    tmp_path: Path, arguments: list[str], words: str
):
    (tmp_path / "exp").mkdir()
    for name in ("encoder.onnx", "decoder.onnx"):
        (tmp_path / "exp" / name).touch()
    np.save(tmp_path / "a.npy", np.zeros((4, 5), np.uint8))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n")
    told = subprocess.run(
        [sys.executable, str(FILE), *arguments], cwd=tmp_path, capture_output=True, text=True
    )
    assert told.returncode == 1
    assert re.match(f".*{words}", told.stderr)
    assert "Traceback" not in told.stderr


def test_what_the_model_does_not_take_is_refused(onnx_pair: ModuleType):
    pair = placed(onnx_pair, (40, 31))
    with pytest.raises(ValueError, match="call set_image first"):
        pair.decode(box=[3, 4, 31, 40])
    pair.features = {"image_embeddings": np.zeros((1, 1, 4, 4), np.float32)}
    pair.kinds = {"boxes"}
    with pytest.raises(ValueError, match=r"takes \['boxes'\], not \['masks', 'points'\]"):
        pair.decode(points=[[1, 2]], previous=np.zeros((16, 16), np.float32))
