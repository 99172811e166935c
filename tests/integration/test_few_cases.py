"""One labelled volume, one image, two images: what can't be done is told before the first step."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from syncsam_lightning.cli.main import main

TINY = str(Path(__file__).parent / "tiny.yaml")
STOPPING = """
trainer:
  max_steps: -1
  max_epochs: 1
  val_check_interval: 1.0
  callbacks:
    - class_path: lightning.pytorch.callbacks.EarlyStopping
      init_args: {monitor: val/dice, mode: max}
data:
  class_path: MaskFolder
  init_args: {root: release, batch_size: 2, num_workers: 0}
"""


@pytest.fixture(autouse=True)
def volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four slices of a volume, each with an organ."""
    monkeypatch.chdir(tmp_path)
    Path("stopping.yaml").write_text(STOPPING)
    labels = np.zeros((32, 32, 4), np.uint8)
    labels[8:20, 8:20] = 1
    values = np.random.default_rng(0).normal(labels * 3, 1).astype(np.float32)
    for folder, voxels in (("images", values), ("masks", labels)):
        path = tmp_path / "release" / folder / "a.nii.gz"
        path.parent.mkdir(parents=True)
        nib.save(nib.Nifti1Image(voxels, np.diag([1, 1, 3, 1])), path)
    return tmp_path / "release"


def fit(*options: str) -> int:
    return main(["fit", "--config", TINY, "--config", "stopping.yaml", *options])


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_one_volume_has_nothing_to_validate_on(capsys: pytest.CaptureFixture[str]):
    assert fit() == 2
    told = last_line(capsys)
    assert told.startswith("error: ")
    assert "MaskFolder.lance has 4 images for training and none for validation" in told
    for way in ("test_fraction 0", "split_by image", "val_fraction 0", "data.table"):
        assert way in told
    assert not list(Path().rglob("*.ckpt"))


def test_one_volume_can_be_split_by_image():
    assert fit("--data.split_by", "image") == 0
    assert {path.name for path in Path().rglob("*.ckpt")} >= {"best.ckpt", "last.ckpt"}


def test_one_volume_can_be_trained_on_without_validation(capsys: pytest.CaptureFixture[str]):
    assert fit("--data.val_fraction", "0") == 2
    told = last_line(capsys)
    assert "EarlyStopping watches val/dice, but nothing is validated" in told
    assert "--trainer.callbacks null" in told
    assert not list(Path().rglob("*.ckpt"))
    assert fit("--data.val_fraction", "0", "--trainer.callbacks", "null") == 0
    assert {path.name for path in Path().rglob("*.ckpt")} == {"last.ckpt"}
    assert "best.ckpt is not written" in capsys.readouterr().err


def test_two_images_leave_none_for_validation(volume: Path, capsys: pytest.CaptureFixture[str]):
    for path in volume.rglob("*.nii.gz"):
        path.unlink()
    for name in ("a", "b"):
        pixels = np.random.default_rng(ord(name)).integers(0, 256, (32, 32), np.uint8)
        mask = np.zeros((32, 32), np.uint8)
        mask[4:20, 6:22] = 1
        Image.fromarray(pixels).save(volume / "images" / f"{name}.png")
        Image.fromarray(mask).save(volume / "masks" / f"{name}.png")
    assert fit() == 2
    assert "1 images for training and none for validation" in last_line(capsys)
    assert fit("--data.test_fraction", "0", "--data.table", "other.lance") == 0
    assert "best.ckpt" in {path.name for path in Path().rglob("*.ckpt")}
