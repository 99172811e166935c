"""Loaders in a fixed order with exact resume, over rows that a subclass provides."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from syncsam_lightning.data.augmentation import AugmentationConfig
from syncsam_lightning.data.batch import ImageBatch
from syncsam_lightning.data.collate import collate
from syncsam_lightning.data.dataset import EvaluationSet, Sample, TrainingSet
from syncsam_lightning.data.order import EpochOrder, Stratum
from syncsam_lightning.data.overlap import UsedRows, notes_on_rows
from syncsam_lightning.data.resume import Position
from syncsam_lightning.data.rows import Rows
from syncsam_lightning.data.sampler import BatchGeometry, GlobalOrderSampler, PaddedOnceSampler
from syncsam_lightning.data.table import Table
from syncsam_lightning.data.workers import begin_worker, worker_context
from syncsam_lightning.errors import TableError
from syncsam_lightning.geometry import Fit
from syncsam_lightning.records import Split

log = logging.getLogger(__name__)

_NEEDED: Mapping[str | None, Split] = {
    "fit": "train",
    "validate": "val",
    "test": "test",
    "predict": "test",
}


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups by which scores are averaged.

    Args:
        sources: data sets that images come from.
        modalities: of the images.
    """

    sources: tuple[str, ...]
    modalities: tuple[str, ...]


class StreamingDataModule(LightningDataModule):
    """Streams rows of tables as :class:`ImageBatch`.

    A subclass says which rows there are (:meth:`load_rows`), how they share an epoch
    (:meth:`strata`) and what groups they form (:meth:`groups`).

    Args:
        image_size: side S of the model's square input in pixels.
        image_fit: how an image lies in that square, see :data:`syncsam_lightning.geometry.Fit`.
        batch_size: images per rank and training step.
        eval_batch_size: images per rank and evaluation step; None: ``batch_size``.
        masks_per_image: masks drawn with replacement from each training image.
        num_workers: loader processes per rank; 0 loads in the main process.
        seed: of order, masks, augmentation and prompts.
        augmentation: transforms for training images, see
            :class:`syncsam_lightning.data.augmentation.Augmentation`.
        max_damaged: share of a split's rows that may turn out to be damaged before the run ends;
            ten always may. Such rows are left out, each is named.
        epoch_size: training samples in an epoch; None: as many as there are training images.

    Raises:
        ValueError: a number is out of range.
    """

    def __init__(
        self,
        *,
        image_size: int,
        image_fit: Fit,
        batch_size: int,
        eval_batch_size: int | None,
        masks_per_image: int,
        num_workers: int,
        seed: int,
        augmentation: AugmentationConfig | None,
        max_damaged: float = 0.01,
        epoch_size: int | None = None,
    ) -> None:
        super().__init__()
        for name, value in (
            ("image_size", image_size),
            ("batch_size", batch_size),
            ("masks_per_image", masks_per_image),
            ("eval_batch_size", 1 if eval_batch_size is None else eval_batch_size),
            ("epoch_size", 1 if epoch_size is None else epoch_size),
        ):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if image_fit not in get_args(Fit):
            raise ValueError(
                f"image_fit must be one of {', '.join(get_args(Fit))}, got {image_fit!r}"
            )
        for name, value in (("num_workers", num_workers), ("seed", seed)):
            if value < 0:
                raise ValueError(f"{name} must be 0 or more, got {value}")
        if not 0 <= max_damaged <= 1:
            raise ValueError(f"max_damaged must be a share from 0 to 1, got {max_damaged}")
        self.image_size, self.image_fit = image_size, image_fit
        self.max_damaged = max_damaged
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size or batch_size
        self.masks_per_image = masks_per_image
        self.num_workers = num_workers
        self.seed = seed
        self.augmentation = list(augmentation or [])
        self.epoch_size = epoch_size
        self._rows: Mapping[Split, Rows] = {}
        self._order: EpochOrder | None = None
        self._rows_key = 0
        self._begin: Position | None = None

    @abstractmethod
    def load_rows(self) -> Mapping[Split, Rows]:
        """Return the rows of every split; called by :meth:`setup`."""

    @abstractmethod
    def strata(self) -> Sequence[Stratum]:
        """Return how the training rows share an epoch; after :meth:`load_rows`."""

    @abstractmethod
    def groups(self) -> Groups:
        """Return the sources and modalities of the rows, sorted; after :meth:`load_rows`."""

    def rows_key(self) -> int:
        """Return a key that differs where other rows are trained on; after :meth:`load_rows`.

        By it a run is not resumed on other rows. 0, here, compares nothing.
        """
        return 0

    def setup(self, stage: str | None = None) -> None:
        """Look up the rows of every split.

        Raises:
            TableError: there are no rows of a split that the stage needs, none to validate on
                though a share for validation is asked for, or a table is too old to train on.
        """
        self._rows = self.load_rows()
        if stage == "fit":
            self._check_trainable()
        needed = _NEEDED.get(stage)
        if needed is not None and not self.num_rows(needed):
            raise TableError(
                f"{self.place()} has no rows for the {needed} split: prepare it again "
                "with another data.test_fraction or data.val_fraction"
            )
        if stage == "fit" and self.wants_validation() and not self.num_rows("val"):
            self._refuse_unvalidated()
        if stage in ("fit", "test") and (self.trainer is None or self.trainer.is_global_zero):
            for note in notes_on_rows(self.used_rows()):
                log.warning("%s: %s", self.place(), note)
        self._order, self._rows_key = None, 0
        if self.num_rows("train"):
            self._order = EpochOrder(self.strata(), self.epoch_size)
            self._rows_key = self.rows_key()

    def _refuse_unvalidated(self) -> None:
        if self.trainer is not None and self.trainer.limit_val_batches == 0:
            return
        raise TableError(
            f"{self.place()} has {self.num_rows('train')} images for training and none for "
            "validation: its cases are too few to share. Ways out, each with a data.table of its "
            "own: more cases; data.test_fraction 0, which keeps none for testing; data.split_by "
            "image, where images of one case lie on both sides and scores come out too high; or "
            "data.val_fraction 0, to train without validation"
        )

    def used_rows(self) -> Sequence[UsedRows]:
        """Return the rows that are used, table by table; after :meth:`setup`. None here.

        By them, images and patients on two sides are told.
        """
        return ()

    def wants_validation(self) -> bool:
        """Whether a part of the cases was to be kept for validation; False here."""
        return False

    def _check_trainable(self) -> None:
        for table in self.tables():
            table.check_trainable()

    @abstractmethod
    def place(self) -> str:
        """Return where the rows lie, for messages."""

    @abstractmethod
    def tables(self) -> Sequence[Table]:
        """Return the tables that are read; after :meth:`setup`."""

    def rows(self, split: Split) -> Rows:
        """Return the rows of a split; after :meth:`setup`."""
        return self._rows[split]

    def num_rows(self, split: Split) -> int:
        """Return the number of images in a split; after :meth:`setup`."""
        return len(self._rows[split])

    def order(self) -> EpochOrder:
        """Return the order of training samples; after :meth:`setup`.

        Raises:
            TableError: there are no training rows.
        """
        if self._order is None:
            raise TableError(f"{self.place()} has no rows for the train split")
        return self._order

    # Loaders

    def train_dataloader(self) -> DataLoader[Sample]:
        """Return the training loader of this rank.

        Raises:
            TableError: there are fewer training samples than ranks, or a table is too old to train
                on.
        """
        self._check_trainable()
        begin = self._begin or self._epoch_begin(self.seed, 0)
        trainer, geometry = self.trainer, self.geometry()
        self._tell_what_is_left_out(geometry)
        sampler = GlobalOrderSampler(
            geometry,
            rank=0 if trainer is None else trainer.global_rank,
            seed=begin.seed,
            order=self.order(),
            epoch=begin.epoch,
            start=begin.samples,
            current_epoch=None if trainer is None else (lambda: trainer.current_epoch),
        )
        dataset = TrainingSet(
            self.rows("train"),
            image_size=self.image_size,
            image_fit=self.image_fit,
            masks_per_image=self.masks_per_image,
            seed=self.seed,
            augmentation=self.augmentation,
        )
        return self._loader(dataset, sampler, self.batch_size)

    def _tell_what_is_left_out(self, geometry: BatchGeometry) -> None:
        samples, ranks = geometry.num_samples, geometry.world_size
        if samples < ranks:
            raise TableError(
                f"{self.place()} has {samples} training samples in an epoch, too few for {ranks} "
                "ranks: train on fewer (trainer.devices, trainer.num_nodes)"
            )
        if geometry.left_out and (self.trainer is None or self.trainer.is_global_zero):
            log.info(
                "each epoch leaves out the last %d of its %d samples, too few for a batch on %d "
                "ranks; they are others in every epoch",
                geometry.left_out,
                samples,
                ranks,
            )

    def val_dataloader(self) -> DataLoader[Sample]:
        """Return the validation loader of this rank."""
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[Sample]:
        """Return the test loader of this rank."""
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> DataLoader[Sample]:
        """Return the prediction loader of this rank: the test rows."""
        return self._evaluation_loader("test")

    def _evaluation_loader(self, split: Split) -> DataLoader[Sample]:
        rows, trainer = self.rows(split), self.trainer
        sampler = PaddedOnceSampler(
            len(rows),
            rank=0 if trainer is None else trainer.global_rank,
            world_size=1 if trainer is None else trainer.world_size,
        )
        dataset = EvaluationSet(
            rows, image_size=self.image_size, image_fit=self.image_fit, seed=self.seed
        )
        return self._loader(dataset, sampler, self.eval_batch_size)

    def _loader(
        self,
        dataset: TrainingSet | EvaluationSet,
        sampler: GlobalOrderSampler | PaddedOnceSampler,
        batch_size: int,
    ) -> DataLoader[Sample]:
        return DataLoader(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            collate_fn=collate,
            multiprocessing_context=worker_context(self.num_workers),
            persistent_workers=self.num_workers > 0,
            worker_init_fn=begin_worker,
            pin_memory=self._on_gpu(),
        )

    def _on_gpu(self) -> bool:
        return self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        """Move a batch without waiting, where its memory is pinned."""
        if isinstance(batch, ImageBatch):
            return batch.to(device, non_blocking=True)
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    # Resume

    def geometry(self) -> BatchGeometry:
        """Return how an epoch is cut into batches; after :meth:`setup`."""
        world_size = 1 if self.trainer is None else self.trainer.world_size
        return BatchGeometry(self.order().num_samples, self.batch_size, world_size)

    def _epoch_begin(self, seed: int, epoch: int) -> Position:
        order = self.order()
        return Position(seed, epoch, 0, order.num_samples, order.fingerprint, self._rows_key)

    def position(self) -> Position:
        """Return how far the running fit has come in its epoch.

        Counted where batches are trained on, not where they are fetched, so that what workers have
        read ahead doesn't count.
        """
        trainer, geometry = self.trainer, self.geometry()
        if trainer is None:
            return self._epoch_begin(self.seed, 0)
        epoch = max(0, trainer.fit_loop.epoch_progress.current.ready - 1)
        begin = self._begin
        if begin is None or begin.epoch != epoch:
            begin = self._epoch_begin(self.seed if begin is None else begin.seed, epoch)
        progress = trainer.fit_loop.epoch_loop.batch_progress.current
        done: int = progress.processed  # type: ignore[attr-defined]
        return begin.advanced(done - begin.batches_done(geometry), geometry)

    def state_dict(self) -> dict[str, Any]:
        """Return the position, for Lightning to put into checkpoints."""
        fitting = self.trainer is not None and self.trainer.state.fn == "fit"
        return self.position().state() if fitting and self._order is not None else {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where a checkpoint left off.

        Raises:
            ResumeError: an epoch has another length or order now, or other rows.
        """
        if state_dict and self.trainer is not None and self.trainer.state.fn == "fit":
            position = Position.from_state(state_dict)
            self._begin = position.normalised(
                self.geometry(), self.order().fingerprint, self._rows_key
            )
