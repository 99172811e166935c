"""Checkpoints within an epoch, and the one of a run that is asked to stop: between two batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

FILE_NAME = "resume.ckpt"


def is_between_steps(trainer: Trainer, batch_idx: int) -> bool:
    """Tell whether no gradients are accumulated before a batch; those would be lost."""
    return batch_idx % trainer.accumulate_grad_batches == 0


def checkpoint_folder(trainer: Trainer) -> Path:
    """Return where the other checkpoints of a run lie."""
    for callback in trainer.checkpoint_callbacks:
        if folder := getattr(callback, "dirpath", None):
            return Path(folder)
    return Path(trainer.default_root_dir, "checkpoints")


class PeriodicCheckpoint(Checkpoint):
    """Writes ``resume.ckpt`` every so many steps, before a batch.

    By then all that belongs to the batches before is done. Stock ``ModelCheckpoint`` writes at the
    end of a batch, ahead of the validation and the end of an epoch that may follow: a run killed in
    these would never make up for them, and miss a validation or, optimised by hand, a change of the
    learning rate.

    Args:
        every_n_train_steps: optimiser steps from one checkpoint to the next; 0 writes none.

    Raises:
        ValueError: ``every_n_train_steps`` is negative.
    """

    def __init__(self, every_n_train_steps: int = 1000) -> None:
        if every_n_train_steps < 0:
            raise ValueError(f"every_n_train_steps must be 0 or more, got {every_n_train_steps}")
        self.every_n_train_steps = every_n_train_steps
        self._saved_at = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count on from where the run begins."""
        self._saved_at = trainer.global_step

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Save if a multiple of ``every_n_train_steps`` has been reached or passed."""
        step, every = trainer.global_step, self.every_n_train_steps
        if not every or trainer.fast_dev_run or not is_between_steps(trainer, batch_idx):  # type: ignore[attr-defined]
            return
        if step // every > self._saved_at // every:
            # False means with the optimiser's state; not said, Lightning tells at every save.
            trainer.save_checkpoint(checkpoint_folder(trainer) / FILE_NAME, weights_only=False)
            self._saved_at = step
