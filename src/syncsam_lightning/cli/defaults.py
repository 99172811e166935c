"""What every run has unless the user says otherwise: logger, callbacks, trainer settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint

from syncsam_lightning.training.callbacks.best import BestCheckpoint
from syncsam_lightning.training.callbacks.changed_settings import ChangedSettings
from syncsam_lightning.training.callbacks.examples import ExampleKeeper
from syncsam_lightning.training.callbacks.graceful_stop import GracefulStop
from syncsam_lightning.training.callbacks.one_run import OneRunPerFolder
from syncsam_lightning.training.callbacks.periodic import PeriodicCheckpoint
from syncsam_lightning.training.callbacks.pictures import PredictionPictures
from syncsam_lightning.training.callbacks.predictions import PredictionWriter
from syncsam_lightning.training.callbacks.resume import ResumeExactly
from syncsam_lightning.training.callbacks.throughput import Throughput

CALLBACKS: Mapping[str, type[Callback]] = {
    "checkpoint": BestCheckpoint,
    "last_checkpoint": ModelCheckpoint,
    "periodic_checkpoint": PeriodicCheckpoint,
    "lr_monitor": LearningRateMonitor,
    "pictures": PredictionPictures,
    "predictions": PredictionWriter,
    "examples": ExampleKeeper,
}
"""Callbacks that every run has, by the key that configures each (``--checkpoint.monitor``).

They have keys of their own since a list such as ``trainer.callbacks`` is replaced as a whole by a
later config.
"""

CALLBACK_DEFAULTS: Mapping[str, Any] = {
    "checkpoint.monitor": "val/dice",
    "checkpoint.mode": "max",
    "checkpoint.filename": "best",
    "checkpoint.auto_insert_metric_name": False,
    "checkpoint.enable_version_counter": False,
    # Lightning's own `save_last` leaves out the epochs that are not the best so far.
    "last_checkpoint.filename": "last",
    "last_checkpoint.save_on_train_epoch_end": True,
    "last_checkpoint.enable_version_counter": False,
    "lr_monitor.logging_interval": "step",
}
"""Settings of these callbacks that differ from the class's own."""


def trainer_defaults(root: str, run_name: str) -> dict[str, Any]:
    """Return the settings of the Trainer that differ from Lightning's.

    Args:
        root: folder of all runs.
        run_name: folder below it for this run.
    """
    return {
        # Without settings, hence without keys.
        "callbacks": [
            OneRunPerFolder(),
            ResumeExactly(),
            ChangedSettings(),
            Throughput(),
            GracefulStop(),
        ],
        # The datamodules' own samplers shard over ranks, exactly, and can resume.
        "use_distributed_sampler": False,
        "precision": "32-true",
        "logger": {
            "class_path": "lightning.pytorch.loggers.TensorBoardLogger",
            "init_args": {"save_dir": root, "name": run_name},
        },
        "plugins": [{"class_path": "syncsam_lightning.training.checkpoint.AtomicCheckpointIO"}],
    }
