"""Telling Lightning's loops where a resumed run stands."""

from __future__ import annotations

import warnings
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from syncsam_lightning.data.resume import Position
from syncsam_lightning.data.streaming import StreamingDataModule


class ResumeExactly(Callback):
    """Expresses a checkpoint's position in batches of the present batch size and world size.

    The datamodule goes on after the samples that were consumed; Lightning counts batches, and would
    end this epoch or the next too early or too late if these have another size now. It also counts
    the steps that loggers show one too far after a checkpoint from before a batch, where
    :class:`PeriodicCheckpoint` and :class:`GracefulStop` save; that is put right.
    """

    def __init__(self) -> None:
        self._logged_steps: int | None = None

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Rewrite the count of batches done in the epoch."""
        self._logged_steps = None
        datamodule: Any = getattr(trainer, "datamodule", None)
        if not isinstance(datamodule, StreamingDataModule) or trainer.state.fn != "fit":
            return
        state = checkpoint.get(type(datamodule).__qualname__)
        if not state or "loops" not in checkpoint:
            return
        done = Position.from_state(state).batches_done(datamodule.geometry())
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        # The order resumes through the datamodule's state, which Lightning doesn't look for.
        warnings.filterwarnings("ignore", message=".*your dataloader is not resumable")
        if progress["current"]["ready"] > progress["current"]["started"]:  # before a batch
            # Lightning takes this back in the epoch's count only; by the other one it decides when
            # to validate, where that is counted over epochs.
            for counts in (progress["current"], progress["total"]):
                counts["ready"] = counts["started"]
            loop = checkpoint["loops"]["fit_loop"]["epoch_loop.state_dict"]
            self._logged_steps = loop["_batches_that_stepped"]
        shift = done - progress["current"]["processed"]
        for counts in (progress["current"], progress["total"]):
            for key in counts:
                counts[key] += shift

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Let loggers count on from where the checkpoint was."""
        if self._logged_steps is not None:
            trainer.fit_loop.epoch_loop._batches_that_stepped = self._logged_steps
            self._logged_steps = None
