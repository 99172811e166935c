"""The base class of every data plugin."""

from __future__ import annotations

import logging
import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from syncsam_lightning.data.batch import ImageBatch
from syncsam_lightning.data.collate import collate
from syncsam_lightning.data.conversion import (
    ConversionReport,
    Records,
    TablePlan,
    Target,
    Workbench,
    WorkOptions,
    is_prepared,
    prepare_table,
)
from syncsam_lightning.data.dataset import EvaluationSet, Sample, TrainingSet
from syncsam_lightning.data.resume import Position
from syncsam_lightning.data.sampler import BatchGeometry, GlobalOrderSampler, PaddedOnceSampler
from syncsam_lightning.data.splits import SplitBy, SplitRule
from syncsam_lightning.data.table import Table
from syncsam_lightning.data.workers import ignore_sigterm, worker_context
from syncsam_lightning.errors import DatasetNotFoundError, TableError
from syncsam_lightning.records import DatasetCard, RawSample, Skipped, Split

log = logging.getLogger(__name__)

DEFAULT_FOLDER = "tables"


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups by which scores are averaged.

    Args:
        sources: data sets that images come from.
        modalities: of the images.
    """

    sources: tuple[str, ...]
    modalities: tuple[str, ...]


class PromptableDataModule(LightningDataModule):
    """Streams images with masks from a prepared table, which it makes when there is none.

    A plugin is a subclass with a :attr:`card` and one method, :meth:`records`; table, split, order,
    loaders and exact resume are inherited. Loaders yield :class:`ImageBatch`.

    Args:
        root: folder of the raw release. Not needed when the table is there already.
        table: folder of the prepared table. None: ``tables/CLASS.lance`` in the working folder.
        image_size: side S of the model's square input in pixels; set by the model when run by
            ``syncsam``.
        batch_size: images per rank and training step.
        eval_batch_size: images per rank and evaluation step; None: ``batch_size``.
        masks_per_image: masks drawn with replacement from each training image.
        num_workers: loader processes per rank; 0 loads in the main process.
        split_by: ``case`` keeps all images of a case on one side; ``image`` is the paper's rule for
            SA-Med2D-20M. Used where the release has no official split.
        test_fraction: share held out for testing, where the release has no official split.
        val_fraction: share for validation, taken from what would be trained on; none is taken
            where the release has a validation split.
        seed: of split, order, masks, augmentation and prompts.
        augmentation: transforms for training images, see
            :class:`syncsam_lightning.data.transforms.Augmentation`.

    Raises:
        ValueError: a number is out of range.
    """

    card: ClassVar[DatasetCard]
    needs_root: ClassVar[bool] = True
    """False for data sets that an installed package carries."""
    reads_archives: ClassVar[bool] = False
    """True where the root may also be an archive, or an address on an object store."""

    def __init__(
        self,
        root: str | None = None,
        table: str | None = None,
        *,
        image_size: int = 256,
        batch_size: int = 8,
        eval_batch_size: int | None = None,
        masks_per_image: int = 5,
        num_workers: int = 2,
        split_by: SplitBy = "case",
        test_fraction: float = 0.2,
        val_fraction: float = 0.05,
        seed: int = 0,
        augmentation: list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        for name, value in (
            ("image_size", image_size),
            ("batch_size", batch_size),
            ("masks_per_image", masks_per_image),
        ):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.save_hyperparameters(logger=False)
        self.root = None if root is None else self._locate(root)
        self.table = Table(
            Path(DEFAULT_FOLDER, f"{type(self).__name__}.lance")
            if table is None
            else Path(table).expanduser()
        )
        self.image_size = image_size
        self.batch_size = batch_size
        self.eval_batch_size = eval_batch_size or batch_size
        self.masks_per_image = masks_per_image
        self.num_workers = num_workers
        self.split_rule = SplitRule(split_by, test_fraction, val_fraction, seed)
        self.seed = seed
        self.augmentation = augmentation or []
        self._offsets: dict[Split, np.ndarray] = {}
        self._begin: Position | None = None

    def _locate(self, root: str) -> Path | str:
        if self.reads_archives and "://" in root:
            return root
        return Path(root).expanduser()

    @abstractmethod
    def records(self, root: Path) -> Iterator[RawSample | Skipped]:
        """Yield every image of the raw release with its masks.

        Called twice, first for the split, so it should be cheap: hand over paths or functions, not
        pixels, and let the conversion load them.

        Args:
            root: folder of the release (the working folder where :attr:`needs_root` is False).
        """

    # Preparation

    def table_settings(self) -> dict[str, Any]:
        """Return what shapes the table; plugins add the options of theirs that do.

        A table that was prepared with other values is refused rather than silently used.
        """
        return {
            "plugin": type(self).__name__,
            "image_size": self.image_size,
            "split_by": self.split_rule.by,
            "test_fraction": self.split_rule.test_fraction,
            "val_fraction": self.split_rule.val_fraction,
            "seed": self.split_rule.seed,
        }

    def prepare_data(self) -> None:
        """Make the table if it is not there, with as many processes as load batches.

        Raises:
            DatasetNotFoundError: neither the table nor the raw release is there.
            ConversionError: not one image of the release could be used.
        """
        report = self.prepare(WorkOptions(workers=max(1, self.num_workers)))
        if report is not None:
            log.info("%s", report.details(self.card.published))

    def prepare(self, options: WorkOptions) -> ConversionReport | None:
        """Make the table if it is not there; wait if another process is making it.

        Args:
            options: how to work.

        Returns:
            the report of the conversion, None if the table was there.

        Raises:
            DatasetNotFoundError: neither the table nor the raw release is there.
            ConversionError: not one image of the release could be used, or a worker died.
        """
        target = Target(os.fspath(self.table.path))
        if is_prepared(target):
            return None
        root = self._require_root()
        settings = self.table_settings() | {"root": self._address(root)}
        plan = TablePlan(self.image_size, settings)
        return prepare_table(
            target, plan, partial(self.open_records, root), self.split_rule, options
        )

    def open_records(self, root: Path | str, bench: Workbench) -> Records:
        """Do what has to come before samples can be read, and return what reads them.

        For plugins whose samples cannot be told from names alone: stages that they run at the
        workbench are resumable like the conversion itself. By default :meth:`records`.

        Args:
            root: folder of the release, or a file or an address where :attr:`reads_archives`.
            bench: for stages of work.
        """
        return partial(self.records, Path(root))

    @staticmethod
    def _address(root: Path | str) -> str:
        return os.fspath(root.resolve()) if isinstance(root, Path) else root

    def _require_root(self) -> Path | str:
        if not self.needs_root:
            return Path()
        name = type(self).__name__
        layout = "; ".join(self.card.layout)
        expected = f"it should hold {layout}" if layout else "see the datamodule's documentation"
        if self.root is None:
            raise DatasetNotFoundError(
                f"{name} has no table at {self.table.path} and no root to make it from: set "
                f"data.root to the folder of the release ({expected}), or data.table to a "
                "prepared table"
            )
        if isinstance(self.root, str):
            return self.root
        if not (self.root.exists() if self.reads_archives else self.root.is_dir()):
            raise DatasetNotFoundError(
                f"{name}: data root {self.root} does not exist (looked in {Path.cwd()}): set "
                f"data.root to the folder of the release ({expected}), or data.table to a "
                "prepared table"
            )
        return self.root

    def setup(self, stage: str | None = None) -> None:
        """Open the table and look up the rows of every split.

        Raises:
            TableError: the table was prepared with other settings, or lacks the rows of a split
                that the stage needs.
        """
        self._check_settings()
        self._offsets = {split: self.table.offsets(split) for split in ("train", "val", "test")}
        needed: dict[str, Split] = {"fit": "train", "test": "test", "predict": "test"}
        if stage in needed and not len(self._offsets[needed[stage]]):
            raise TableError(
                f"{self.table.path} has no rows for the {needed[stage]} split: prepare it again "
                "with another data.test_fraction or data.val_fraction"
            )

    def _check_settings(self) -> None:
        stored = self.table.settings
        if not stored:
            return
        for key, wanted in self.table_settings().items():
            if key in stored and stored[key] != wanted:
                raise TableError(
                    f"{self.table.path} was prepared with {key}={stored[key]!r}, but "
                    f"{key}={wanted!r} is asked for: give another data.table to prepare a new "
                    "one, or use the setting it was made with"
                )
        if (
            self.root is not None
            and self.hparams.get("table") is None
            and stored.get("root") not in (None, self._address(self.root))
        ):
            raise TableError(
                f"{self.table.path} was prepared from {stored['root']}, not from {self.root}: "
                "give a data.table of its own to each release"
            )

    def groups(self) -> Groups:
        """Return the sources and modalities in the table, sorted."""
        return Groups(tuple(self.table.distinct("source")), tuple(self.table.distinct("modality")))

    def num_rows(self, split: Split) -> int:
        """Return the number of images in a split; after :meth:`setup`."""
        return len(self._offsets[split])

    # Loaders

    def train_dataloader(self) -> DataLoader[Sample]:
        """Return the training loader of this rank."""
        begin = self._begin or Position(self.seed, 0, 0, self.num_rows("train"))
        trainer = self.trainer
        sampler = GlobalOrderSampler(
            self.geometry(),
            rank=0 if trainer is None else trainer.global_rank,
            seed=begin.seed,
            epoch=begin.epoch,
            start=begin.samples,
            current_epoch=None if trainer is None else (lambda: trainer.current_epoch),
        )
        dataset = TrainingSet(
            self.table,
            self._offsets["train"],
            image_size=self.image_size,
            masks_per_image=self.masks_per_image,
            seed=self.seed,
            augmentation=self.augmentation,
        )
        return self._loader(dataset, sampler, self.batch_size)

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
        offsets, trainer = self._offsets[split], self.trainer
        sampler = PaddedOnceSampler(
            len(offsets),
            rank=0 if trainer is None else trainer.global_rank,
            world_size=1 if trainer is None else trainer.world_size,
        )
        dataset = EvaluationSet(self.table, offsets, image_size=self.image_size, seed=self.seed)
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
            worker_init_fn=ignore_sigterm,
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
        return BatchGeometry(self.num_rows("train"), self.batch_size, world_size)

    def position(self) -> Position:
        """Return how far the running fit has come in its epoch.

        Counted where batches are trained on, not where they are fetched, so that what workers have
        read ahead doesn't count.
        """
        trainer, geometry = self.trainer, self.geometry()
        if trainer is None:
            return Position(self.seed, 0, 0, geometry.num_rows)
        epoch = max(0, trainer.fit_loop.epoch_progress.current.ready - 1)
        begin = self._begin
        if begin is None or begin.epoch != epoch:
            seed = self.seed if begin is None else begin.seed
            begin = Position(seed, epoch, 0, geometry.num_rows)
        progress = trainer.fit_loop.epoch_loop.batch_progress.current
        done: int = progress.processed  # type: ignore[attr-defined]
        return begin.advanced(done - begin.batches_done(geometry), geometry)

    def state_dict(self) -> dict[str, Any]:
        """Return the position, for Lightning to put into checkpoints."""
        fitting = self.trainer is not None and self.trainer.state.fn == "fit"
        return self.position().state() if fitting and self._offsets else {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue where a checkpoint left off.

        Raises:
            ResumeError: the training set has another number of rows.
        """
        if state_dict and self.trainer is not None and self.trainer.state.fn == "fit":
            self._begin = Position.from_state(state_dict).normalised(self.geometry())
