"""`syncsam export --push` sends a model to a hub, and every command takes it from there."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from syncsam_lightning.hub import load_pretrained
from syncsam_lightning.models import SyncSAM, weights_checksum
from syncsam_lightning.prediction import Predictor

pytest.importorskip("safetensors")
SIZES = {"image_size": 32, "vit_width": 8, "vit_depth": 4, "vit_heads": 1, "window_size": 2}
# A process of its own: the hub's package reads its settings once, when it is imported.
PROGRAM = """
import shutil
from syncsam_lightning.cli.main import main
line = ["weights.pth", "mine", "--name", "Tiny", "--license", "apache-2.0", "--push", "me/tiny"]
assert main(["export", "safetensors", *line]) == 0
shutil.rmtree("mine")
line = ["image.png", "--ckpt_path", "me/tiny", "--box", "3,4,20,16", "--device", "cpu"]
assert main(["predict", *line]) == 0
"""


def test_a_model_is_pushed_and_used_by_the_command_line(hub: str, tmp_path: Path):
    model = SyncSAM(cnn="none", **SIZES).eval()
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    settings = {"HF_ENDPOINT": hub, "HF_TOKEN": "hf_x", "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"sent to {hub}/me/tiny/commit/" in done.stdout
    mask = np.asarray(Image.open(tmp_path / "predictions/image--object.png")) > 0
    predictor = Predictor(model, device="cpu")
    predictor.set_image(pixels)
    assert (mask == predictor.predict(box=[3, 4, 20, 16]).masks[0]).all()
    fetched = load_pretrained("me/tiny", endpoint=hub)
    assert weights_checksum(fetched.model) == weights_checksum(model)
    with urllib.request.urlopen(f"{hub}/me/tiny/resolve/main/README.md") as card:
        assert "license: apache-2.0" in card.read().decode()
