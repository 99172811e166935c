"""Each shipped config of a baseline trains a small variant of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from syncsam_lightning.cli.lightning_cli import SyncSAMCLI
from syncsam_lightning.cli.main import main
from syncsam_lightning.data import PromptableDataModule
from syncsam_lightning.models import MedSAM
from syncsam_lightning.records import DatasetCard, NamedMask, RawSample
from syncsam_lightning.training.checkpoint import AtomicCheckpointIO
from syncsam_lightning.training.module import InteractiveSegmentation

SIZES = {"image_size": 64, "vit_width": 32, "vit_depth": 4, "vit_heads": 2, "window_size": 3}
TINY = [f"--model.network.{key}={value}" for key, value in SIZES.items()]
TRAINED = {
    "ftsam": {"mask_decoder"},
    "medsam": {"image_encoder", "mask_decoder"},
    "sammed2d": {"image_encoder", "prompt_encoder", "mask_decoder"},
}


class Squares(PromptableDataModule):
    """Three squares on noise; the first image is smaller than the model's square."""

    card = DatasetCard("Squares", "Made in memory.")
    needs_root = False

    def records(self, root: Path) -> Iterator[RawSample]:
        for i, side in enumerate((40, 96, 64)):
            image = np.random.default_rng(i).integers(0, 99, (side, side - 8), np.uint8)
            mask = np.zeros(image.shape, bool)
            mask[5:25, 8:20] = True
            image[mask] += 100
            masks = [NamedMask("square", mask)]
            yield RawSample(str(i), image, masks, "ct", "squares", str(i), split="train")


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Build what a config describes, small, without running it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(SyncSAMCLI, "_run_subcommand", lambda self, subcommand: None)
    options = ["--data=MNI152", "--trainer.accelerator=cpu", "--trainer.devices=1"]
    device = [*options, "--trainer.strategy=auto", "--model.sam_checkpoint=none"]
    return lambda config, *more: SyncSAMCLI(["fit", "--config", config, *device, *TINY, *more])


def trained_for_a_batch(cli: Any, folder: Path) -> set[str]:
    """Train for one batch and return the names of what has changed."""
    data = cli.datamodule
    squares = Squares(
        table=str(folder / "t.lance"), image_size=data.image_size, image_fit=data.image_fit,
        batch_size=3, masks_per_image=1, num_workers=0, val_fraction=0.0,
    )  # fmt: skip
    before = {}

    class Snapshot(pl.Callback):
        def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            state = cli.model.network.state_dict()
            before.update({key: value.clone() for key, value in state.items()})

    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, limit_train_batches=1, limit_val_batches=0, logger=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
        default_root_dir=folder, plugins=[AtomicCheckpointIO()], callbacks=[Snapshot()],
    )  # fmt: skip
    trainer.fit(cli.model, squares)
    trainer.save_checkpoint(folder / "x.ckpt")
    after = cli.model.network.state_dict()
    return {key for key, value in after.items() if not value.equal(before[key])}


@pytest.mark.parametrize("system", TRAINED)
def test_one_batch_moves_exactly_the_trained_parts(build: Any, tmp_path: Path, system: str):
    network = (cli := build(f"{system}_samed")).model.network
    changed = trained_for_a_batch(cli, tmp_path)
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    assert changed <= trained
    assert {name.split(".")[0] for name in changed} == TRAINED[system]
    # An embedding of a kind of prompt that the episode happened not to give has nothing to learn.
    unmoved = {name for name in trained - changed if not name.startswith("prompt_encoder.")}
    assert unmoved == set(), sorted(unmoved)
    # What is frozen is left out of checkpoints.
    stored = torch.load(tmp_path / "x.ckpt", weights_only=True)["state_dict"]
    frozen = {f"network.{key}" for key in network.frozen_keys()}
    assert frozen
    assert frozen.isdisjoint(stored)
    assert {f"network.{name}" for name in trained} <= set(stored)


@pytest.mark.parametrize(
    ("config", "fit"),
    [("ftsam_imed", "pad"), ("medsam_imed", "stretch"), ("sammed2d_imed", "center")],
)
def test_the_data_follow_the_network_s_preprocessing(build: Any, config: str, fit: str):
    cli = build(config)
    assert (cli.datamodule.image_size, cli.datamodule.image_fit) == (64, fit)
    assert cli.datamodule.hparams["image_fit"] == fit
    assert cli.model.network.input_spec.fit == fit


def test_official_weights_are_tested_on_any_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(5)
    official = MedSAM(**SIZES)
    torch.save(official.state_dict(), "medsam.pth")
    options = ["--data=MNI152", "--trainer.accelerator=cpu", "--trainer.devices=1"]
    options += ["--trainer.strategy=auto", "--model.sam_checkpoint=none", *TINY]
    limit = ["--trainer.limit_test_batches=1", "--data.num_workers=0", "--data.batch_size=2"]
    args = ["--config", "medsam_samed", *options, *limit, "--model.weights=medsam.pth"]
    seen = {}
    monkeypatch.setattr(
        InteractiveSegmentation,
        "on_test_epoch_end",
        lambda self: seen.update({k: v.clone() for k, v in self.network.state_dict().items()}),
    )
    assert main(["test", *args]) == 0
    assert all(seen[key].equal(value) for key, value in official.state_dict().items())
