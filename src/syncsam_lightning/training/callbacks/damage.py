"""Telling of damaged rows, and ending runs that meet many."""

from __future__ import annotations

import logging
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from syncsam_lightning.data.batch import ImageBatch
from syncsam_lightning.data.damage import DamagedRow
from syncsam_lightning.data.streaming import StreamingDataModule
from syncsam_lightning.errors import TableError
from syncsam_lightning.records import Split

log = logging.getLogger(__name__)

_ALWAYS_ALLOWED = 10
_AGREE_EVERY = 16


class DamagedRows(Callback):
    """Names each damaged row once, counts them, and ends runs that meet more than are allowed.

    A row counts once in an epoch. Allowed is the datamodule's ``max_damaged``, a share of the
    split's rows, but always ten. The count over all ranks is logged as ``train/damaged_rows`` and
    the like, where there are any. Ranks agree on it every 16 training steps and at the end of an
    epoch, so that all of them end together; with a single rank it is looked at after every batch.
    """

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._rows: set[int] = set()
        self._of_training: set[int] = set()
        self._first = ""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count anew."""
        self._rows = set()

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count those of training later on: validation may come in the midst of an epoch."""
        self._of_training, self._rows = self._rows, set()

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count anew."""
        self._rows = set()

    def on_predict_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count anew."""
        self._rows = set()

    def _add(self, batch: Any, trainer: Trainer, split: Split) -> None:
        if not isinstance(batch, ImageBatch) or not batch.damaged:
            return
        self._rows |= {row.index for row in batch.damaged}
        for row in batch.damaged:
            self._tell(row, split)
        if trainer.world_size == 1:
            self._check(len(self._rows), trainer, split)

    def _tell(self, row: DamagedRow, split: Split) -> None:
        self._first = self._first or row.reason
        if row.reason not in self._told:
            self._told.add(row.reason)
            log.warning("left out of the %s split: %s", split, row.reason)

    def _agreed(self, trainer: Trainer, module: LightningModule, split: Split) -> int:
        """Return the count over all ranks.

        Raises:
            TableError: it is above what is allowed.
        """
        count = len(self._rows)
        if trainer.world_size > 1:
            own = torch.tensor(float(count), device=module.device)
            count = int(trainer.strategy.reduce(own, reduce_op="sum").item())
        self._check(count, trainer, split)
        return count

    def _check(self, count: int, trainer: Trainer, split: Split) -> None:
        datamodule: Any = getattr(trainer, "datamodule", None)
        share, total = 0.0, 0
        if isinstance(datamodule, StreamingDataModule):
            share, total = datamodule.max_damaged, datamodule.num_rows(split)
        if count <= max(_ALWAYS_ALLOWED, share * total):
            return
        example = f"; one of them: {self._first}" if self._first else ""
        raise TableError(
            f"{count} rows of the {split} split are damaged, which is more than "
            f"data.max_damaged={share:g} allows for {total:,}{example}. A larger share goes on "
            "without them"
        )

    def _log(self, trainer: Trainer, module: LightningModule, name: str, split: Split) -> None:
        # Equal on all ranks: nothing is left to reduce.
        if count := self._agreed(trainer, module, split):
            module.log(f"{name}/damaged_rows", float(count), rank_zero_only=False)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Count those of a batch.

        Raises:
            TableError: there are too many.
        """
        self._add(batch, trainer, "train")
        if trainer.world_size > 1 and not batch_idx % _AGREE_EVERY:
            self._agreed(trainer, pl_module, "train")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the count.

        Raises:
            TableError: there are too many.
        """
        self._log(trainer, pl_module, "train", "train")

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count those of a batch.

        Raises:
            TableError: there are too many.
        """
        self._add(batch, trainer, "val")

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the count.

        Raises:
            TableError: there are too many.
        """
        self._log(trainer, pl_module, "val", "val")
        self._rows = self._of_training

    def on_test_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Count those of a batch.

        Raises:
            TableError: there are too many.
        """
        self._add(batch, trainer, "test")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the count.

        Raises:
            TableError: there are too many.
        """
        self._log(trainer, pl_module, "test", "test")

    on_predict_batch_start = on_test_batch_start

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the count.

        Raises:
            TableError: there are too many.
        """
        self._agreed(trainer, pl_module, "test")
