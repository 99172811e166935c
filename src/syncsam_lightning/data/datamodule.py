"""The base class of every data plugin."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from syncsam_lightning.data.conversion import (
    ConversionReport,
    Records,
    TablePlan,
    Target,
    Workbench,
    WorkOptions,
    address_of,
    check_unchanged,
    code_digest,
    is_prepared,
    prepare_table,
    state_of,
)
from syncsam_lightning.data.filter import RowFilter
from syncsam_lightning.data.index import TableIndex
from syncsam_lightning.data.order import Stratum
from syncsam_lightning.data.overlap import UsedRows
from syncsam_lightning.data.rows import Rows, TableRows
from syncsam_lightning.data.sampling import Sampling
from syncsam_lightning.data.splits import SplitBy, SplitRule
from syncsam_lightning.data.streaming import Groups, StreamingDataModule
from syncsam_lightning.data.table import Table
from syncsam_lightning.errors import DatasetNotFoundError, TableError
from syncsam_lightning.geometry import Fit
from syncsam_lightning.records import SPLITS, DatasetCard, RawSample, Skipped, Split
from syncsam_lightning.seeding import stable_key

log = logging.getLogger(__name__)

DEFAULT_FOLDER = "tables"


class PromptableDataModule(StreamingDataModule):
    """Streams images with masks from a prepared table, which it makes when there is none.

    A plugin is a subclass with a :attr:`card` and one method, :meth:`records`; table, split, order,
    loaders and exact resume are inherited. Loaders yield :class:`ImageBatch`.

    Args:
        root: folder of the raw release. Not needed when the table is there already.
        table: the prepared table: a folder, or a URI such as ``s3://bucket/table.lance``. None:
            ``tables/CLASS.lance`` in the working folder.
        image_size: side S of the model's square input in pixels; set by the model when run by
            ``syncsam``.
        image_fit: how an image lies in that square, see :data:`syncsam_lightning.geometry.Fit`; set
            by the model when run by ``syncsam``.
        batch_size: images per rank and training step.
        eval_batch_size: images per rank and evaluation step; None: ``batch_size``.
        masks_per_image: masks drawn with replacement from each training image.
        num_workers: loader processes per rank; 0 loads in the main process.
        split_by: ``case`` draws no patient onto two sides; ``image`` is the paper's rule for
            SA-Med2D-20M. Used where the release has no official split.
        test_fraction: share held out for testing, where the release has no official split.
        val_fraction: share for validation, taken from what would be trained on; none is taken
            where the release has a validation split.
        split_seed: of the split that the two shares are drawn by: one choice for all runs on a
            table, which keeps it.
        seed: of order, masks, augmentation and prompts.
        augmentation: transforms for training images, see
            :class:`syncsam_lightning.data.augmentation.Augmentation`.
        max_damaged: share of a split's rows that may turn out to be damaged before the run ends;
            ten always may. Such rows are left out, each is named.
        filter: which images and masks of the table are used; None: all.
        sampling: how often modalities or sources come up in training; None: every training image
            once per epoch.
        storage_options: of the object store that the table's URI or the root's points to, see
            :class:`syncsam_lightning.data.location.TableLocation`. Where both do, and to stores of
            two kinds, they are the table's.

    Raises:
        ValueError: a number is out of range.
    """

    settings_before: ClassVar[Mapping[str, Any]] = {}
    """What options meant for tables that were made before there were these options."""
    card: ClassVar[DatasetCard]
    needs_root: ClassVar[bool] = True
    """False for data sets that an installed package carries."""
    reads_archives: ClassVar[bool] = False
    """True where the root may also be an archive, or an address on an object store."""
    reads: tuple[str, ...] = ()
    """Items of the root that rows are made of; none: all. What changes in them is noticed."""

    def __init__(
        self,
        root: str | None = None,
        table: str | None = None,
        *,
        image_size: int = 256,
        image_fit: Fit = "pad",
        batch_size: int = 8,
        eval_batch_size: int | None = None,
        masks_per_image: int = 5,
        num_workers: int = 2,
        split_by: SplitBy = "case",
        test_fraction: float = 0.2,
        val_fraction: float = 0.05,
        split_seed: int = 0,
        seed: int = 0,
        augmentation: list[dict[str, Any]] | None = None,
        max_damaged: float = 0.01,
        filter: RowFilter | None = None,
        sampling: Sampling | None = None,
        storage_options: dict[str, str] | None = None,
    ) -> None:
        super().__init__(
            image_size=image_size,
            image_fit=image_fit,
            batch_size=batch_size,
            eval_batch_size=eval_batch_size,
            masks_per_image=masks_per_image,
            num_workers=num_workers,
            seed=seed,
            augmentation=augmentation,
            max_damaged=max_damaged,
            epoch_size=None if sampling is None else sampling.epoch_size,
        )
        self.save_hyperparameters(logger=False)
        # Hyperparameters go into checkpoints, which must load with weights_only: plain values only.
        for name, value in (("filter", filter), ("sampling", sampling)):
            if value is not None:
                self.hparams[name] = asdict(value)
        self.root = None if root is None else self._locate(root)
        self.table = Table(
            Path(DEFAULT_FOLDER, f"{type(self).__name__}.lance") if table is None else table,
            storage_options,
        )
        self._has_default_table = table is None
        self.split_rule = SplitRule(split_by, test_fraction, val_fraction, split_seed)
        self.filter = filter or RowFilter()
        self.sampling = sampling
        self._index: TableIndex | None = None
        self._chosen: np.ndarray | None = None

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

        A table that was prepared with other values is refused rather than silently used, except
        for ``image_size``: training images are stored with that long side, and resized when read.
        """
        return {
            "plugin": type(self).__name__,
            "image_size": self.image_size,
            "split_by": self.split_rule.by,
            "test_fraction": self.split_rule.test_fraction,
            "val_fraction": self.split_rule.val_fraction,
            "split_seed": self.split_rule.seed,
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
            TableError: the table is there, and the release has changed since.
        """
        target = self._target()
        if is_prepared(target):
            check_unchanged(self.table, self.root, self.reads, self.source_options)
            return None
        root = self._require_root()
        settings = self.table_settings() | {"root": address_of(root)}
        state = state_of(root, self.reads, self.source_options) if self.needs_root else None
        plan = TablePlan(self.image_size, settings, code_digest(type(self)), state)
        return prepare_table(
            target, plan, partial(self.open_records, root), self.split_rule, options
        )

    def check_available(self) -> None:
        """Check that the table is there, or a release to make it from; nothing is read.

        Raises:
            DatasetNotFoundError: neither is there; the message names both places.
        """
        if not is_prepared(self._target()):
            self._require_root()

    def look_in(self, folder: str) -> None:
        """Look for the release in a folder, unless its root is absolute.

        Args:
            folder: what :attr:`root` is relative to; a path, or an address where
                :attr:`reads_archives`.
        """
        if isinstance(self.root, Path) and not self.root.is_absolute():
            self.root = self._locate(f"{folder.rstrip('/')}/{self.root.as_posix()}")

    @property
    def source_options(self) -> Mapping[str, str] | None:
        """The storage options for a root on an object store: those of the table.

        None where that lies on a store of another kind, to which the options belong.
        """
        location = self.table.location
        if location.is_remote and location.uri.partition("://")[0] != self._scheme():
            return None
        return location.storage_options

    def _scheme(self) -> str:
        return self.root.partition("://")[0] if isinstance(self.root, str) else ""

    def _target(self) -> Target:
        return Target(self.table.location.uri, self.table.location.open_options())

    def open_records(self, root: Path | str, bench: Workbench) -> Records:
        """Do what has to come before samples can be read, and return what reads them.

        For plugins whose samples cannot be told from names alone: stages that they run at the
        workbench are resumable like the conversion itself. By default :meth:`records`.

        Args:
            root: folder of the release, or a file or an address where :attr:`reads_archives`.
            bench: for stages of work.
        """
        # An address reaches only those that say with `reads_archives` that they take one.
        return partial(self.records, cast(Path, root))

    def _require_root(self) -> Path | str:
        if not self.needs_root:
            return Path()
        name = type(self).__name__
        layout = "; ".join(" ".join(line.split()) for line in self.card.layout)
        expected = f"it should hold {layout}" if layout else "see the datamodule's documentation"
        if self.root is None:
            raise DatasetNotFoundError(
                f"{name} has no table at {self.table} and no root to make it from: set "
                f"data.root to the folder of the release ({expected}), or data.table to a "
                "prepared table"
            )
        if isinstance(self.root, str):
            return self.root
        if not (self.root.exists() if self.reads_archives else self.root.is_dir()):
            trouble = "is not a folder" if self.root.exists() else "does not exist"
            raise DatasetNotFoundError(
                f"{name}: data root {self.root} {trouble} (looked in {Path.cwd()}): set "
                f"data.root to the folder of the release ({expected}), or data.table to a "
                "prepared table"
            )
        return self.root

    def _check_settings(self) -> None:
        stored = self.table.settings
        if not stored:
            return
        if "seed" in stored:  # the name of split_seed in tables of earlier versions
            stored = {"split_seed": stored["seed"], **stored}
        stored = {**self.settings_before, **stored}
        for key, wanted in self.table_settings().items():
            # Images are resized when they are read: one table serves models of all sizes.
            if key != "image_size" and key in stored and stored[key] != wanted:
                raise TableError(
                    f"{self.table} was prepared with {key}={stored[key]!r}, but "
                    f"{key}={wanted!r} is asked for: give another data.table to prepare a new "
                    "one, or use the setting it was made with"
                )
        self._warn_of_small_images(stored.get("image_size"))
        if self._has_default_table:
            self.check_origin()

    def _warn_of_small_images(self, stored: int | None) -> None:
        if stored is not None and stored < self.image_size:
            log.warning(
                "%s keeps training images with a long side of %d pixels, which are enlarged to %d "
                "here; for sharper ones prepare a table of its own with image_size %d (images for "
                "validation and testing keep their size in every table)",
                self.table, stored, self.image_size, self.image_size,
            )  # fmt: skip

    def check_origin(self) -> None:
        """Raise :class:`TableError` if the table was prepared from another release than root."""
        stored = self.table.settings
        if self.root is not None and stored.get("root") not in (None, address_of(self.root)):
            raise TableError(
                f"{self.table} was prepared from {stored['root']}, not from {self.root}: "
                "give a data.table of its own to each release"
            )

    # Rows

    def place(self) -> str:
        """Return where the table lies."""
        return str(self.table)

    def tables(self) -> Sequence[Table]:
        """Return the table."""
        return [self.table]

    def load_rows(self) -> Mapping[Split, Rows]:
        """Open the table and choose the rows of every split.

        Raises:
            TableError: the table was prepared with other settings, or can't be read.
            FilterError: the filter names what is not in the table, or leaves nothing.
        """
        self._check_settings()
        self._index = TableIndex.read(self.table)
        self._chosen = self.filter.chosen(self.table, self._index)
        keeps = self.filter.keeps_label if self.filter.restricts_labels else None
        return {
            split: TableRows(self.table, self._offsets(split).astype(np.int32), keeps)
            for split in SPLITS
        }

    def _offsets(self, split: Split) -> np.ndarray:
        index, chosen = self._looked_up()
        return np.flatnonzero(chosen & index.in_split(split))

    def _looked_up(self) -> tuple[TableIndex, np.ndarray]:
        if self._index is None or self._chosen is None:
            raise TableError(f"{self.table} is not open yet: call setup() first")
        return self._index, self._chosen

    def strata(self) -> Sequence[Stratum]:
        """Return how the training rows share an epoch.

        Raises:
            SamplingError: the weights don't fit the groups in the training set.
        """
        index, _ = self._looked_up()
        offsets = self._offsets("train")
        if self.sampling is None:
            return [Stratum(np.arange(len(offsets)), 1.0)]
        return self.sampling.strata(index, offsets)

    def used_rows(self) -> Sequence[UsedRows]:
        """Return the rows of the table that are used."""
        return [UsedRows(self.table, *self._looked_up())]

    def wants_validation(self) -> bool:
        """Whether ``val_fraction`` is above 0."""
        return self.split_rule.val_fraction > 0

    def rows_key(self) -> int:
        """Return a key of the training rows, by their checksums, and of the classes chosen."""
        index, _ = self._looked_up()
        rows = index.checksums[self._offsets("train")].astype("<u4").tobytes()
        wanted, unwanted = self.filter.label_names()
        return stable_key(
            "rows", blake2b(rows).hexdigest(), len(wanted), *wanted, len(unwanted), *unwanted
        )

    def groups(self) -> Groups:
        """Return the sources and modalities of the rows that are used, sorted."""
        index, chosen = self._looked_up()
        return Groups(index.source.present(chosen), index.modality.present(chosen))
