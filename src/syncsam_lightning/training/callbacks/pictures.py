"""Pictures of predictions in TensorBoard and as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image

from syncsam_lightning.evaluation.pictures import Panel, draw_panels, stack_panels


class PredictionPictures(Callback):
    """Shows image, prompt, truth and prediction of some masks under every protocol.

    Validation and test pictures go to TensorBoard; those of a test also to ``predictions.png``
    beside its report.

    Args:
        num_masks: masks per protocol.
        masks_per_batch: at most this many from one batch, so that several images are seen.
    """

    def __init__(self, num_masks: int = 6, masks_per_batch: int = 2) -> None:
        self.num_masks = num_masks
        self.masks_per_batch = masks_per_batch
        self._panels: dict[str, list[Panel]] = {}

    def _collect(self, outputs: Any, trainer: Trainer) -> None:
        if not trainer.is_global_zero or not isinstance(outputs, dict):
            return
        for name, evaluation in outputs.items():
            panels = self._panels.setdefault(name, [])
            limit = min(self.masks_per_batch, self.num_masks - len(panels))
            if limit > 0:
                panels += draw_panels(evaluation.batch, evaluation, limit=limit)

    def _show(self, trainer: Trainer, stage: str, folder: Path | None = None) -> None:
        panels = [panel for group in self._panels.values() for panel in group]
        self._panels = {}
        if not panels or trainer.sanity_checking:
            return
        picture = stack_panels(panels)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(
                    f"{stage}/predictions", picture, trainer.global_step, dataformats="HWC"
                )
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / "predictions.png")

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw some masks of the first batches."""
        self._collect(outputs, trainer)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show what was drawn."""
        self._show(trainer, "val")

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw some masks of the first batches."""
        self._collect(outputs, trainer)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show what was drawn, and write it to a file."""
        folder = Path(trainer.log_dir or trainer.default_root_dir) / "test"
        self._show(trainer, "test", folder)
