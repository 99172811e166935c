"""How fast training goes."""

from __future__ import annotations

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from syncsam_lightning.data.batch import ImageBatch


class Throughput(Callback):
    """Logs images and masks per second over all ranks, loading included.

    The time of validation does not count.
    """

    def __init__(self) -> None:
        self._since = 0.0
        self._images = 0
        self._masks = 0

    def _restart(self) -> None:
        self._since, self._images, self._masks = time.perf_counter(), 0, 0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._restart()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock again."""
        self._restart()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count, and log every ``log_every_n_steps`` batches."""
        if not isinstance(batch, ImageBatch):
            return
        self._images += batch.num_images
        self._masks += batch.targets.num_objects
        if (batch_idx + 1) % trainer.log_every_n_steps:  # type: ignore[attr-defined]
            return
        seconds = time.perf_counter() - self._since
        rate = trainer.world_size / max(seconds, 1e-9)
        pl_module.log_dict(
            {"train/images_per_s": self._images * rate, "train/masks_per_s": self._masks * rate},
            batch_size=batch.num_images,
        )
        self._restart()
