"""A run that is killed in a validation makes up for it, and for all that follows it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from syncsam_lightning.interaction import TrainingEpisode
from syncsam_lightning.training.callbacks.periodic import PeriodicCheckpoint
from syncsam_lightning.training.callbacks.resume import ResumeExactly


class KilledError(Exception):
    pass


class Told(pl.Callback):
    """Notes validations, saves and the steps of loggers; dies in the validation that it is told."""

    def __init__(self, dies_in: int | None) -> None:
        self.dies_in = dies_in
        self.validated: list[tuple[int, float]] = []
        self.saved: list[int] = []
        self.logged: list[int] = []

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.global_step == self.dies_in:
            raise KilledError

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        dice = float(trainer.callback_metrics["val/dice"])
        self.validated.append((trainer.global_step, dice))

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        self.logged.append(trainer.fit_loop.epoch_loop._batches_that_stepped)

    def on_save_checkpoint(self, trainer: pl.Trainer, *args: Any) -> None:
        self.saved.append(trainer.global_step)


@pytest.fixture
def fit(discs: Any, task: Any, trainer: Any, tmp_path: Path):
    """Return what trains for two epochs of three batches, and is killed in a validation."""

    def run(
        schedule: Any = "joint", dies_in: int | None = None, every: int = 1, **options: Any
    ) -> tuple[Told, pl.Trainer]:
        told, ckpt_path = Told(dies_in), options.pop("ckpt_path", None)
        torch.manual_seed(0)
        module = task(
            episode=TrainingEpisode(iterations=1, schedule=schedule), cnn="none", lr_milestones=[1]
        )
        given = {"callbacks": [told, ResumeExactly(), PeriodicCheckpoint(every)], "max_epochs": 2}
        given |= {"enable_checkpointing": True, "limit_val_batches": 1}
        fitted = trainer(tmp_path, **(given | options))
        with contextlib.suppress(KilledError):
            fitted.fit(module, discs(batch_size=4), ckpt_path=ckpt_path)
        return told, fitted

    return run


@pytest.mark.promise("Resume: a kill in a validation loses no validation and no step of a schedule")
@pytest.mark.parametrize(
    ("schedule", "interval", "dies_in"),
    [("joint", 1.0, 3), ("joint", 2, 2), ("per_round", 1.0, 6)],
    ids=["at the end of an epoch", "within an epoch", "optimised by hand"],
)
def test_a_run_that_is_killed_in_a_validation_makes_up_for_it(
    fit: Any, tmp_path: Path, schedule: str, interval: float, dies_in: int
):
    whole, expected = fit(schedule, val_check_interval=interval)
    killed, _ = fit(schedule, dies_in, val_check_interval=interval)
    path = tmp_path / "checkpoints" / "resume.ckpt"
    resumed, found = fit(schedule, val_check_interval=interval, ckpt_path=path)
    assert killed.validated == []
    assert len(whole.validated) == 2
    assert resumed.validated == whole.validated
    assert whole.logged == list(range(6))
    assert resumed.logged == whole.logged[-len(resumed.logged) :]
    assert found.global_step == expected.global_step
    rates = [one.optimizers[0].param_groups[0]["lr"] for one in (expected, found)]
    assert rates[0] == rates[1] == pytest.approx(5e-4)
    weights = expected.lightning_module.state_dict()
    for key, value in found.lightning_module.state_dict().items():
        assert torch.equal(value, weights[key]), key


@pytest.mark.parametrize(
    ("schedule", "every", "options", "saved"),
    [
        ("joint", 2, {}, [2, 4]),
        ("per_round", 3, {}, [4, 6, 10]),  # a batch takes two steps
        ("joint", 1, {"accumulate_grad_batches": 2}, [1, 2, 3]),
        ("joint", 0, {}, []),
    ],
    ids=["joint", "per round", "accumulated", "never"],
)
def test_it_saves_between_batches_when_the_steps_have_passed(
    fit: Any, schedule: str, every: int, options: dict[str, Any], saved: list[int]
):
    told, _ = fit(schedule, every=every, limit_val_batches=0, **options)
    assert told.saved == saved


def test_a_negative_interval_is_refused():
    with pytest.raises(ValueError, match="every_n_train_steps must be 0 or more, got -1"):
        PeriodicCheckpoint(-1)


@pytest.mark.promise(
    "Resume: validations counted over epochs stay where they were after every start"
)
def test_validations_that_are_counted_over_epochs_stay_where_they_were(fit: Any, tmp_path: Path):
    counted = {"val_check_interval": 2, "check_val_every_n_epoch": None}
    whole, _ = fit(**counted)
    assert [step for step, _ in whole.validated] == [2, 4, 6]
    path, validated = tmp_path / "checkpoints" / "resume.ckpt", []
    path.unlink()  # of the whole run
    for options in ({"max_steps": 2}, {"max_steps": 4}, {}):
        again = {"ckpt_path": path} if path.exists() else {}
        told, _ = fit(**counted, **options, **again)
        validated += told.validated
    assert dict(validated) == dict(whole.validated)
