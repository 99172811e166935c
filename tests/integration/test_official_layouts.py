"""`syncsam predict` takes weights as others published them, without a line of code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from syncsam_lightning.cli.main import main
from syncsam_lightning.models import (
    SAM,
    MedSAM,
    PromptableModel,
    SAMMed2D,
    SyncSAM,
    frozen_checksum,
    initialise_frozen,
)
from syncsam_lightning.models.weights.renaming import rename_weights
from syncsam_lightning.models.weights.safetensors_file import write_safetensors
from syncsam_lightning.models.weights.slim_checkpoint import leave_frozen_out
from syncsam_lightning.prediction import Predictor

VIT = {"image_size": 64, "vit_width": 32, "vit_depth": 8, "vit_heads": 2, "window_size": 3}
BOX = [3, 4, 40, 30]
LAYOUTS: dict[str, tuple[Callable[[], PromptableModel], str, list[str]]] = {
    "SyncSAM": (lambda: SyncSAM(cnn="resnet18", **VIT), "official", []),
    "SyncSAM, our names": (lambda: SyncSAM(cnn="resnet18", **VIT), "syncsam", []),
    "SAM-Med2D": (lambda: SAMMed2D(**VIT), "official", []),
    "MedSAM": (lambda: MedSAM(**VIT), "official", ["--network", "MedSAM"]),
    "SAM": (lambda: SAM(**VIT), "official", ["--network", "SAM"]),
}


@pytest.fixture
def pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """An image in a working folder of its own, wider than high, so that the fit counts."""
    monkeypatch.chdir(tmp_path)
    coarse = np.random.default_rng(0).integers(0, 255, (6, 9), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((90, 60), Image.Resampling.BILINEAR)
    image.save("image.png")
    return np.asarray(image)


def build(make: Callable[[], PromptableModel]) -> PromptableModel:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = make()
    initialise_frozen(model, seed=0)
    return model.eval()


def predict(weights: str, *options: str) -> np.ndarray:
    line = ["predict", "image.png", "--ckpt_path", weights, "--box", "3,4,40,30", "--device", "cpu"]
    assert main([*line, *options]) == 0
    return np.asarray(Image.open("predictions/image--object.png")) > 0


def expected(model: PromptableModel, pixels: np.ndarray) -> np.ndarray:
    predictor = Predictor(model, device="cpu")
    predictor.set_image(pixels)
    return predictor.predict(box=BOX).masks[0]


@pytest.mark.parametrize("name", LAYOUTS)
def test_official_weights_give_masks(name: str, pixels: np.ndarray):
    make, layout, options = LAYOUTS[name]
    model = build(make)
    weights = dict(rename_weights(model, layout).state_dict)
    # SAM-Med2D's training program saves an optimizer beside the weights.
    torch.save({"model": weights, "optimizer": {}} if name == "SAM-Med2D" else weights, "w.pth")
    assert (predict("w.pth", *options) == expected(model, pixels)).all()
    pytest.importorskip("safetensors")
    write_safetensors(weights, Path("w.safetensors"))
    assert (predict("w.safetensors", *options) == expected(model, pixels)).all()


def test_what_weights_are_taken_for_is_told(
    pixels: np.ndarray, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
):
    with caplog.at_level("INFO", "syncsam_lightning"):
        torch.save(dict(rename_weights(build(LAYOUTS["SyncSAM"][0])).state_dict), "w.pth")
        predict("w.pth")
    assert "w.pth is taken for SyncSAM(image_size=64, vit_width=32, vit_depth=8" in caplog.text
    torch.save(build(LAYOUTS["SAM"][0]).state_dict(), "sam.pth")
    line = ["predict", "image.png", "--ckpt_path", "sam.pth", "--box", "3,4,40,30"]
    assert main(line) == 2
    assert "add --network SAM, or --network MedSAM" in capsys.readouterr().err
    assert main([*line, "--network", "SAN"]) == 2
    assert "there is no model 'SAN'" in capsys.readouterr().err
    assert main([*line, "--options.image_size", "64"]) == 2
    assert "add --network SAM, or --network MedSAM" in capsys.readouterr().err
    line[line.index("sam.pth")] = "w.pth"
    assert main([*line, "--options.image_size", "abc"]) == 2
    assert "SyncSAM takes image_size as int, got 'abc'" in capsys.readouterr().err


def test_options_of_the_network_win_over_what_weights_show(pixels: np.ndarray):
    model = build(LAYOUTS["SAM"][0])
    torch.save(model.state_dict(), "sam.pth")
    larger = Predictor.from_checkpoint("sam.pth", SAM(**VIT | {"image_size": 96}), device="cpu")
    found = predict("sam.pth", "--network", "SAM", "--options.image_size", "96")
    assert (found == expected(larger.model, pixels)).all()


def test_sizes_are_not_read_off_a_checkpoint_that_leaves_frozen_weights_out(pixels: np.ndarray):
    model = build(LAYOUTS["SyncSAM"][0])
    state = {f"network.{key}": value for key, value in model.state_dict().items()}
    checkpoint = {"state_dict": state, "hyper_parameters": {"sam_checkpoint": "none"}}
    leave_frozen_out(checkpoint, model, prefix="network.", checksum=frozen_checksum(model))
    torch.save(checkpoint, "fit.ckpt")
    options = [f"--options.{key}={value}" for key, value in {**VIT, "cnn": "resnet18"}.items()]
    found = predict("fit.ckpt", "--network", "SyncSAM", *options)
    assert (found == expected(model, pixels)).all()
