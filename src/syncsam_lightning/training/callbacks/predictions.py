"""What `syncsam predict` writes."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image

from syncsam_lightning.data.mask_names import safe_name
from syncsam_lightning.evaluation.runner import BatchEvaluation
from syncsam_lightning.training.outcome import gather

_NOT_PREDICTED = "not_predicted.txt"
_FIELDS = ("image_id", "mask_id", "label", "file", "pixels")


class PredictionWriter(Callback):
    """Writes predicted masks as PNG (0 and 255, original size) and lists them in a CSV file.

    Images that could not be read are listed in ``not_predicted.txt``, with the reason.

    Args:
        folder: where to; None: ``predictions`` in the run's folder.
    """

    def __init__(self, folder: str | None = None) -> None:
        self.folder = folder
        self._rows: list[dict[str, Any]] = []
        self._damaged: list[str] = []
        self._target = Path()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the folder."""
        run = Path(trainer.log_dir or trainer.default_root_dir)
        self._target = run / "predictions" if self.folder is None else Path(self.folder)
        self._target.mkdir(parents=True, exist_ok=True)
        self._rows, self._damaged = [], []

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Write the masks of a batch."""
        self._damaged += [row.reason for row in batch.damaged]
        for evaluation in outputs.values():
            self._write(evaluation)

    def _write(self, evaluation: BatchEvaluation) -> None:
        batch, position = evaluation.batch, 0
        for info, masks in zip(batch.infos, evaluation.predictions, strict=True):
            for mask in masks:
                entry = batch.objects[position]
                position += 1
                if not info.valid:
                    continue
                name = f"{safe_name(info.id)}--{entry.mask_id}_{safe_name(entry.label)}.png"
                pixels = mask.cpu().numpy()
                Image.fromarray(pixels.astype("uint8") * 255).save(self._target / name)
                values = (info.id, entry.mask_id, entry.label, name, int(pixels.sum()))
                self._rows.append(dict(zip(_FIELDS, values, strict=True)))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the list."""
        rows, damaged = gather(self._rows, trainer), gather(self._damaged, trainer)
        if trainer.is_global_zero:
            rows.sort(key=lambda row: (row["image_id"], row["mask_id"]))
            with (self._target / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, _FIELDS)
                writer.writeheader()
                writer.writerows(rows)
            print(f"{len(rows)} masks written to {self._target}")
            path = self._target / _NOT_PREDICTED
            path.unlink(missing_ok=True)  # that of an earlier run
            if damaged:
                path.write_text("".join(f"{reason}\n" for reason in sorted(damaged)), "utf-8")
                print(f"{len(damaged)} images could not be read, see {path}")
