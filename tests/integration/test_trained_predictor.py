"""From `syncsam fit` to masks of one's own files: the checkpoint is all that passes between."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from syncsam_lightning.cli.main import main
from syncsam_lightning.models import SyncSAM
from syncsam_lightning.prediction import Predictor
from syncsam_lightning.training.module import InteractiveSegmentation

TINY = Path(__file__).parent / "tiny.yaml"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run of two steps leaves behind."""
    folder = tmp_path_factory.mktemp("run")
    with contextlib.chdir(folder):
        assert main(["fit", "--config", str(TINY), "--data.table=mni152.lance"]) == 0
    return folder / "logs/tiny/version_0/checkpoints/last.ckpt"


def test_a_predictor_has_the_weights_that_lightning_loads(checkpoint: Path):
    settings = torch.load(checkpoint, weights_only=True)["hyper_parameters"]["network"]
    network = SyncSAM(**settings["init_args"])
    module = InteractiveSegmentation.load_from_checkpoint(
        checkpoint, network=network, map_location="cpu", weights_only=True
    )
    rebuilt = Predictor.from_checkpoint(checkpoint, device="cpu").model.state_dict()
    expected = module.network.state_dict()
    assert rebuilt.keys() == expected.keys()
    assert [key for key in expected if not rebuilt[key].equal(expected[key])] == []


def test_a_file_is_segmented_from_the_command_line(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.arange(60 * 40, dtype=np.uint16).reshape(60, 40)).save("deep.png")
    options = ["--ckpt_path", str(checkpoint), "--box", "5,5,30,50", "--device", "cpu"]
    assert main(["predict", "deep.png", *options]) == 0
    written = np.asarray(Image.open("predictions/deep--object.png")) > 0
    predictor = Predictor.from_checkpoint(checkpoint, device="cpu")
    predictor.set_image("deep.png")
    np.testing.assert_array_equal(written, predictor.predict(box=[5, 5, 30, 50]).masks[0])
