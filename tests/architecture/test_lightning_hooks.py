"""What we use of Lightning without its promise: each is named here when a new version changes it.

Most of these would fail in silence: a run would resume at another sample, or a checkpoint's
settings would win over the user's.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning.pytorch.strategies import DDPStrategy, StrategyRegistry
from torch import nn
from torch.utils.data import DataLoader

PROMISE = pytest.mark.promise(
    "Resume: a version of Lightning that changes a private hook of ours is told by its name"
)
pytestmark = PROMISE


def missing(hook: str, used_by: str) -> str:
    return f"Lightning has changed {hook}, on which {used_by} relies"


@pytest.fixture
def fitted(tmp_path: Path) -> Trainer:
    """A Trainer that has taken 3 of an epoch's 64 steps, and has saved them in x.ckpt."""
    trainer = Trainer(
        accelerator="cpu",
        max_steps=3,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(BoringModel())
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    return trainer


def test_the_loops_count_batches_and_epochs(fitted: Trainer):
    done = fitted.fit_loop.epoch_loop.batch_progress.current.processed
    assert done == 3, missing(
        "fit_loop.epoch_loop.batch_progress.current.processed", "StreamingDataModule.position"
    )
    epoch = fitted.fit_loop.epoch_progress.current.ready
    assert epoch == 1, missing(
        "fit_loop.epoch_progress.current.ready", "StreamingDataModule.position"
    )


def test_a_checkpoint_holds_the_counts_where_resuming_rewrites_them(
    fitted: Trainer, tmp_path: Path
):
    content = torch.load(tmp_path / "x.ckpt", weights_only=True)
    progress = content.get("loops", {}).get("fit_loop", {}).get("epoch_loop.batch_progress", {})
    told = missing('checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]', "ResumeExactly")
    for part in ("current", "total"):
        counts = progress.get(part, {})
        assert counts.get("processed") == 3, told
        assert {"ready", "started", "processed", "completed"} <= counts.keys(), told


def test_steps_that_loggers_show_are_counted_where_resuming_puts_them_right(
    fitted: Trainer, tmp_path: Path
):
    told = missing("epoch_loop._batches_that_stepped", "ResumeExactly")
    assert getattr(fitted.fit_loop.epoch_loop, "_batches_that_stepped", None) == 3, told
    loops = torch.load(tmp_path / "x.ckpt", weights_only=True)["loops"]["fit_loop"]
    assert loops.get("epoch_loop.state_dict", {}).get("_batches_that_stepped") == 3, told


def test_a_datamodules_state_lies_under_its_class(tmp_path: Path):
    class Data(LightningDataModule):
        def train_dataloader(self) -> DataLoader[torch.Tensor]:
            return DataLoader(list(torch.zeros(1, 32)))

        def state_dict(self) -> dict[str, int]:
            return {"position": 7}

    trainer = Trainer(
        accelerator="cpu",
        max_steps=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        default_root_dir=tmp_path,
    )
    trainer.fit(BoringModel(), Data())
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    content = torch.load(tmp_path / "x.ckpt", weights_only=True)
    assert content.get(Data.__qualname__) == {"position": 7}, missing(
        "the key of a datamodule's state (its class's __qualname__)", "ResumeExactly"
    )


def test_sigterm_is_asked_about_where_we_switch_it_off(fitted: Trainer):
    assert callable(getattr(fitted.fit_loop.epoch_loop, "_broadcast_sigterm_tensor", None)), (
        missing("epoch_loop._broadcast_sigterm_tensor", "GracefulStop")
    )


def test_a_checkpoints_settings_are_read_where_we_override_it():
    hook = getattr(LightningCLI, "_parse_ckpt_path", None)
    told = missing("LightningCLI._parse_ckpt_path", "SyncSAMCLI")
    assert callable(hook), told
    assert "_parse_ckpt_path" in inspect.getsource(LightningCLI.__init__), told


def test_a_command_line_has_a_parser_for_each_command():
    assert "_subcommand_parsers" in inspect.getsource(LightningCLI), missing(
        "LightningCLI._subcommand_parsers", "SyncSAMCLI"
    )


def test_hyperparameters_of_a_config_are_told_from_those_of_a_script():
    told = missing("hparams_mixin._given_hyperparameters", "InteractiveSegmentation and Mixture")
    try:
        from lightning.pytorch.core.mixins.hparams_mixin import (
            _given_hyperparameters,
            _given_hyperparameters_context,
        )
    except ImportError:
        pytest.fail(told)
    assert _given_hyperparameters.get() is None, told
    with _given_hyperparameters_context({"lr": 1}, "jsonargparse"):
        assert (_given_hyperparameters.get() or {}).get("lr") == 1, told


def test_a_config_notes_the_class_that_a_checkpoint_is_rebuilt_with(tmp_path: Path):
    from lightning.pytorch.core.mixins.hparams_mixin import _given_hyperparameters_context

    class Plain(BoringModel):
        def __init__(self) -> None:
            super().__init__()
            self.save_hyperparameters()

    with _given_hyperparameters_context({"_class_path": "a.B"}, "jsonargparse"):
        noted = dict(Plain().hparams)
    assert noted == {"_class_path": "a.B", "_instantiator": "jsonargparse"}, missing(
        'hyper_parameters["_class_path"]', "checkpoint_config"
    )


def test_ddp_lets_gradients_be_kept_from_its_reducer():
    told = missing("DDPStrategy.block_backward_sync", "backward_over_ranks")
    assert "no_sync" in inspect.getsource(DDPStrategy.block_backward_sync), told
    assert "automatic_optimization" in inspect.getsource(DDPStrategy.pre_backward), told


def test_several_devices_train_under_the_strategy_that_limits_waiting():
    before = dict(StrategyRegistry["ddp"])
    from syncsam_lightning.training.lost_processes import limit_waiting

    try:
        limit_waiting(7)
        strategy = Trainer(accelerator="cpu", devices=2, logger=False).strategy
    finally:
        StrategyRegistry["ddp"] = before
    told = missing("the strategy `ddp` for several devices", "limit_waiting")
    assert isinstance(strategy, DDPStrategy), told
    assert strategy._timeout is not None, told
    assert strategy._timeout.total_seconds() == 7, told


@pytest.mark.promise("Ranks: sync_batchnorm converts every BatchNorm of the CNN")
def test_sync_batchnorm_converts_every_batchnorm_and_gives_it_back():
    from lightning.pytorch.plugins import TorchSyncBatchNorm

    from syncsam_lightning.models import SyncSAM

    network = SyncSAM(
        cnn="resnet18", image_size=64, vit_width=32, vit_depth=4, vit_heads=2, window_size=3
    )
    names = {n for n, m in network.named_modules() if isinstance(m, nn.BatchNorm2d)}
    keys = list(network.state_dict())
    assert len(names) == 20
    converted = TorchSyncBatchNorm().apply(network)
    assert names == {n for n, m in converted.named_modules() if isinstance(m, nn.SyncBatchNorm)}
    assert list(converted.state_dict()) == keys  # checkpoints stay the same
    back = TorchSyncBatchNorm().revert(converted)
    assert not [m for m in back.modules() if isinstance(m, nn.SyncBatchNorm)]
