from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from syncsam_lightning.commands.predict import PredictOptionError, predict_files
from syncsam_lightning.models import SyncSAM, frozen_checksum, initialise_frozen
from syncsam_lightning.models.weights.slim_checkpoint import leave_frozen_out

SMALL = {
    "cnn": "none",
    "image_size": 64,
    "vit_width": 32,
    "vit_depth": 4,
    "vit_heads": 2,
    "window_size": 3,
}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    model = SyncSAM(**SMALL)
    initialise_frozen(model, seed=0)
    content = {
        "state_dict": {f"network.{key}": value for key, value in model.state_dict().items()},
        "hyper_parameters": {
            "network": {"class_path": "syncsam_lightning.models.SyncSAM", "init_args": SMALL},
            "sam_checkpoint": "none",
        },
    }
    leave_frozen_out(content, model, prefix="network.", checksum=frozen_checksum(model))
    torch.save(content, tmp_path / "x.ckpt")
    return tmp_path / "x.ckpt"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 255, (30, 40), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def test_a_folder_is_segmented_by_a_file_of_prompts(
    images: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "p.csv").write_text(
        "image,label,x0,y0,x1,y1\n0.png,cell,1,2,20,20\n0.png,disc,5,5,9,9\n"
    )
    predict_files(
        [str(images)],
        ckpt_path=str(checkpoint),
        prompts=str(tmp_path / "p.csv"),
        output=str(tmp_path / "out"),
        device="cpu",
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "0--cell.png",
        "0--disc.png",
        "predictions.csv",
        "skipped.jsonl",
    ]
    printed = capsys.readouterr().out
    assert f"skipped {images / '1.png'}: there is no prompt about it" in printed
    assert f"2 objects written to {tmp_path / 'out'}, listed in" in printed


def test_where_nothing_can_be_segmented_the_command_fails(
    images: Path, checkpoint: Path, tmp_path: Path
):
    with pytest.raises(PredictOptionError, match="nothing could be segmented"):
        predict_files(
            [str(images)],
            ckpt_path=str(checkpoint),
            box="0,0,500,500",
            output=str(tmp_path / "out"),
            device="cpu",
        )
    assert len((tmp_path / "out/skipped.jsonl").read_text().splitlines()) == 2
