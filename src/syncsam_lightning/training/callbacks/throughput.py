"""How fast training goes."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, NamedTuple

from lightning.pytorch import Callback, LightningModule, Trainer

from syncsam_lightning.data.batch import ImageBatch


class _Mark(NamedTuple):
    seconds: float
    images: int
    masks: int


class Throughput(Callback):
    """Logs images and masks per second over all ranks, loading included.

    The time of validation does not count.

    Args:
        window: how many batches the rates are means over, at most.

    Raises:
        ValueError: ``window`` is smaller than 1.
    """

    def __init__(self, window: int = 50) -> None:
        if window < 1:
            raise ValueError(f"window must be at least 1, got {window}")
        self._marks: deque[_Mark] = deque(maxlen=window + 1)
        self._paused = 0.0
        self._pause_began = 0.0

    def _mark(self, images: int, masks: int) -> None:
        self._marks.append(_Mark(time.perf_counter() - self._paused, images, masks))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._marks.clear()
        self._mark(0, 0)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self._pause_began = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the clock go on."""
        self._paused += time.perf_counter() - self._pause_began

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Count, and log the rates; the Trainer writes those of the steps that it writes."""
        if not isinstance(batch, ImageBatch):
            return
        last = self._marks[-1]
        self._mark(last.images + batch.num_images, last.masks + batch.targets.num_objects)
        begin, end = self._marks[0], self._marks[-1]
        rate = trainer.world_size / max(end.seconds - begin.seconds, 1e-9)
        pl_module.log_dict(
            {
                "train/images_per_s": (end.images - begin.images) * rate,
                "train/masks_per_s": (end.masks - begin.masks) * rate,
            },
            batch_size=batch.num_images,
        )
