"""Telling which data sets that are tested share patients with those that were trained on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from syncsam_lightning.data.overlap import notes_on_training, training_record
from syncsam_lightning.data.streaming import StreamingDataModule
from syncsam_lightning.errors import SyncSAMError
from syncsam_lightning.models.weights.checkpoint_file import read_checkpoint

log = logging.getLogger(__name__)

_TRAINED_ON = "syncsam_trained_on"


class SharedPatients(Callback):
    """Keeps the names of the data sets trained on in checkpoints, and compares a test's with them.

    So a test of another table, zero-shot or not, says if its patients may have been seen in
    training, under whatever name of the data set.
    """

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note the tables and data sets that the run trains on."""
        datamodule = getattr(trainer, "datamodule", None)
        if isinstance(datamodule, StreamingDataModule) and trainer.state.fn == "fit":
            checkpoint[_TRAINED_ON] = training_record(datamodule.used_rows())

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare the data sets."""
        datamodule = getattr(trainer, "datamodule", None)
        if not trainer.is_global_zero or not isinstance(datamodule, StreamingDataModule):
            return
        for note in notes_on_training(datamodule.used_rows(), _record(trainer.ckpt_path)):
            log.warning("%s", note)


def _record(path: Any) -> Mapping[str, Any]:
    """Return what a checkpoint on disk says it was trained on; its weights stay there."""
    if not path or not Path(path).is_file():
        return {}
    try:
        checkpoint = read_checkpoint(Path(path))
    except SyncSAMError:  # Lightning has told, if it could not load it either
        return {}
    found = checkpoint.get(_TRAINED_ON) if isinstance(checkpoint, Mapping) else None
    return found if isinstance(found, Mapping) else {}
