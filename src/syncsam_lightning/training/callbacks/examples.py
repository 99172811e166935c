"""Keeping a few test images with the model's answers, for drawings of several models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from syncsam_lightning.data.batch import ImageBatch
from syncsam_lightning.evaluation.examples import (
    EXAMPLES,
    Answer,
    Example,
    example_rank,
    write_examples,
)
from syncsam_lightning.evaluation.runner import BatchEvaluation
from syncsam_lightning.training.outcome import gather


class ExampleKeeper(Callback):
    """Keeps some images of a test with truth and answers in ``examples.parquet``.

    `syncsam compare` draws its gallery from these files alone. Which images are kept depends on
    their ids only, so every model that is tested on the same data keeps the same ones, and none is
    chosen for its score.

    Args:
        per_modality: images of each modality; 0: none but those named.
        masks_per_image: the largest masks of each.
        image_ids: images to keep in any case.
        seed: of the choice.

    Raises:
        ValueError: a number is negative.
    """

    def __init__(
        self,
        per_modality: int = 4,
        masks_per_image: int = 3,
        image_ids: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        for name, value in (("per_modality", per_modality), ("masks_per_image", masks_per_image)):
            if value < 0:
                raise ValueError(f"examples.{name} must be 0 or more, got {value}")
        self.per_modality = per_modality
        self.masks_per_image = masks_per_image
        self.image_ids = frozenset(image_ids)
        self.seed = seed
        self._kept: dict[str, Example] = {}

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget earlier images."""
        self._kept = {}

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep those images of a batch that are among the first so far."""
        if not isinstance(outputs, dict):
            return
        for number in self._chosen(batch):
            info = batch.infos[number]
            rows, columns = batch.targets.image_part(number)
            picture = _copied(batch.images[number, :, rows, columns].permute(1, 2, 0))
            answers = [
                answer
                for evaluation in outputs.values()
                for answer in self._answers(evaluation.batch, evaluation, number)
            ]
            self._kept[info.id] = Example(info.id, info.source, info.modality, picture, answers)

    def _chosen(self, batch: ImageBatch) -> list[int]:
        """Return which images of a batch are to be kept, and drop kept ones that they displace."""
        found = {info.id: info.modality for info in batch.infos if info.valid}
        known = {example.image_id: example.modality for example in self._kept.values()}
        chosen = self._first({**known, **found})
        self._kept = {name: example for name, example in self._kept.items() if name in chosen}
        return [
            number
            for number, info in enumerate(batch.infos)
            if info.valid and info.id in chosen and info.id not in self._kept
        ]

    def _first(self, modalities: dict[str, str]) -> set[str]:
        """Return the ids to keep, of images given with their modality."""
        chosen = self.image_ids & modalities.keys()
        for modality in set(modalities.values()):
            members = [name for name, of_image in modalities.items() if of_image == modality]
            members.sort(key=lambda name: (example_rank(name, self.seed), name))
            chosen |= set(members[: self.per_modality])
        return set(chosen)

    def _answers(self, batch: ImageBatch, evaluation: BatchEvaluation, number: int) -> list[Answer]:
        if batch.original_masks is None:
            raise ValueError("examples need masks at the original resolution: use another loader")
        positions = (batch.targets.image_index == number).nonzero().flatten().tolist()
        entries = [batch.objects[position] for position in positions]
        largest = sorted(range(len(entries)), key=lambda i: (-entries[i].area, entries[i].mask_id))
        truths, masks = batch.original_masks[number], evaluation.predictions[number]
        return [
            Answer(
                evaluation.protocol.name,
                entries[i].mask_id,
                entries[i].label,
                _copied(truths[i]),
                _copied(masks[i]),
            )
            for i in largest[: self.masks_per_image]
        ]

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the examples of all ranks, beside the report."""
        folder = Path(trainer.log_dir or trainer.default_root_dir) / "test"  # every rank must ask
        examples = {e.image_id: e for e in gather(list(self._kept.values()), trainer)}
        self._kept = {}
        if not trainer.is_global_zero or not examples:
            return
        chosen = self._first({e.image_id: e.modality for e in examples.values()})
        folder.mkdir(parents=True, exist_ok=True)
        write_examples(folder / EXAMPLES, [examples[name] for name in sorted(chosen)])


def _copied(pixels: Tensor) -> np.ndarray:
    """Return pixels that don't keep the rest of their batch in memory."""
    return np.array(pixels.cpu().numpy())
