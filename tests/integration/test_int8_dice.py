"""What eight bits cost a model that has learnt something, as `syncsam export` states it."""

from __future__ import annotations

import json
from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from PIL import Image
from syncsam_datamodules.mask_folder import MaskFolder

from syncsam_lightning.cli.main import main
from syncsam_lightning.hub import write_folder
from syncsam_lightning.interaction import TrainingEpisode
from syncsam_lightning.losses import PromptLoss
from syncsam_lightning.models import SyncSAM
from syncsam_lightning.prompts import BoxJitter
from syncsam_lightning.training.module import InteractiveSegmentation

SIDE, IMAGES = 64, 100
LEARNT, ALLOWED = 0.8, 0.02


def write_crescents(root: Path) -> None:
    """Write bright crescents on noise: they fill about a third of their boxes."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for number in range(IMAGES):
        y, x = generator.uniform(20, 44, 2)
        angle, radius = generator.uniform(0, 2 * np.pi), generator.uniform(10, 18)
        inner_y, inner_x = y + 0.6 * radius * np.sin(angle), x + 0.6 * radius * np.cos(angle)
        mask = np.hypot(rows - y, columns - x) < radius
        mask &= np.hypot(rows - inner_y, columns - inner_x) > 0.8 * radius
        pixels = generator.normal(80, 25, (SIDE, SIDE)) + 70 * mask
        for kind, picture in (("images", pixels.clip(0, 255)), ("masks", mask)):
            path = root / kind / f"p{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture.astype(np.uint8)).save(path)


@pytest.mark.slow
def test_the_dice_of_eight_bits_is_stated_and_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    write_crescents(tmp_path / "crescents")
    torch.manual_seed(0)
    network = SyncSAM(
        cnn="resnet18",
        vit="trained",
        frozen=(),
        image_size=SIDE,
        vit_width=96,
        vit_depth=4,
        vit_heads=3,
        window_size=3,
    )
    module = InteractiveSegmentation(
        network,
        TrainingEpisode(iterations=0, box_probability=1.0, box_jitter=BoxJitter(rule="none")),
        # As in the demo's config: what a model needs that starts from scratch.
        PromptLoss(dice_weight=4.0, focal_weight=20.0, gamma=0.0, alpha=0.5),
        lr=5e-4,
        warmup_steps=20,
        sam_checkpoint="none",
        cnn_weights="none",
    )
    data = MaskFolder(
        "crescents",
        "crescents.lance",
        test_fraction=0.2,
        val_fraction=0.0,
        image_size=SIDE,
        batch_size=8,
        masks_per_image=1,
        num_workers=0,
    )
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=30,
        gradient_clip_val=1.0,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        use_distributed_sampler=False,
    )
    trainer.fit(module, data)
    write_folder(network.eval(), tmp_path / "mine")
    command = ["export", "onnx", "mine", "exported", "--int8", "true", "--table"]
    assert main([*command, "crescents.lance"]) == 0
    dice = json.loads(Path("exported/export.json").read_text())["dice"]
    told = capsys.readouterr().out
    print(dice)  # `pytest -rP` shows it
    assert dice["PyTorch"] > LEARNT
    assert abs(dice["ONNX"] - dice["PyTorch"]) < 1e-3
    assert 0 < abs(dice["int8"] - dice["PyTorch"]) < ALLOWED
    assert f"change {dice['int8'] - dice['PyTorch']:+.4f}" in told
