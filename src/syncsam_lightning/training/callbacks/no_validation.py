"""Telling before the first step what a run without validation can't do."""

from __future__ import annotations

import logging

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping

from syncsam_lightning.data.streaming import StreamingDataModule
from syncsam_lightning.errors import NoValidationError

log = logging.getLogger(__name__)

_OF_VALIDATION = "val/"


class NoValidation(Callback):
    """Refuses to stop early by a score that nobody will measure.

    Lightning finds out after a whole epoch, and ends the run with nothing written.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Look for callbacks that wait for validation where there is none.

        Raises:
            NoValidationError: the run is to be stopped early by a score of validation.
        """
        datamodule = getattr(trainer, "datamodule", None)
        if stage != "fit" or not isinstance(datamodule, StreamingDataModule):
            return
        if datamodule.num_rows("val") and trainer.limit_val_batches != 0:
            return
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        for callback in callbacks:
            if isinstance(callback, EarlyStopping) and callback.monitor.startswith(_OF_VALIDATION):
                raise NoValidationError(
                    f"{type(callback).__name__} watches {callback.monitor}, but nothing is "
                    "validated in this run: take it out (--trainer.callbacks null leaves out all "
                    "callbacks of the config), or give data.val_fraction a share"
                )
        log.warning(
            "nothing is validated in this run: best.ckpt is not written, the weights of the last "
            "epoch are in last.ckpt"
        )
