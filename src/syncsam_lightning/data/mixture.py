"""Several data sets trained and measured together."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from lightning.pytorch.core.mixins.hparams_mixin import _given_hyperparameters

from syncsam_lightning.data.datamodule import PromptableDataModule
from syncsam_lightning.data.order import Stratum
from syncsam_lightning.data.overlap import UsedRows
from syncsam_lightning.data.rows import JoinedRows, Rows
from syncsam_lightning.data.streaming import Groups, StreamingDataModule
from syncsam_lightning.data.table import Table
from syncsam_lightning.errors import DatasetNotFoundError
from syncsam_lightning.geometry import Fit
from syncsam_lightning.records import SPLITS, Split
from syncsam_lightning.seeding import stable_key

log = logging.getLogger(__name__)


class Mixture(StreamingDataModule):
    """Mixes the images of several datamodules in one order; evaluates on all of them.

    Each part brings its table, split, filter and sampling. Batch size, workers, masks, augmentation
    and order are the mixture's, and so is the image size, which the parts take over.

    Args:
        parts: the datamodules.
        weights: share of each part in the samples of an epoch; only proportions matter. None: every
            training image has the same chance, that is, each part counts by its size.
        root: folder (or address) that the relative roots of the parts lie in; None: the working
            folder.
        missing_parts: what to do about parts of which neither the table nor the release is there:
            ``error`` stops before anything is converted and names them all, ``skip`` goes on
            without them.
        epoch_size: training samples in an epoch; None: as many as there are training images.
        image_size: side S of the model's square input in pixels; set by the model when run by
            ``syncsam``.
        image_fit: how an image lies in that square, see :data:`syncsam_lightning.geometry.Fit`; set
            by the model when run by ``syncsam``.
        batch_size: images per rank and training step.
        eval_batch_size: images per rank and evaluation step; None: ``batch_size``.
        masks_per_image: masks drawn with replacement from each training image.
        num_workers: loader processes per rank; 0 loads in the main process.
        seed: of order, masks, augmentation and prompts; a part's ``split_seed`` draws its split.
        augmentation: transforms for training images.
        max_damaged: share of a split's rows that may turn out to be damaged before the run ends;
            ten always may. Such rows are left out, each is named.

    Raises:
        ValueError: a number is out of range; there are no parts, or not one weight for each; or a
            part has settings that only the mixture may have.
    """

    def __init__(
        self,
        parts: list[PromptableDataModule],
        weights: list[float] | None = None,
        *,
        root: str | None = None,
        missing_parts: Literal["error", "skip"] = "error",
        epoch_size: int | None = None,
        image_size: int = 256,
        image_fit: Fit = "pad",
        batch_size: int = 8,
        eval_batch_size: int | None = None,
        masks_per_image: int = 5,
        num_workers: int = 2,
        seed: int = 0,
        augmentation: list[dict[str, Any]] | None = None,
        max_damaged: float = 0.01,
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
            epoch_size=epoch_size,
        )
        # From a config, the plain settings of the parts are stored; live objects never are.
        from_config = _given_hyperparameters.get() is not None
        self.save_hyperparameters(logger=False, ignore=[] if from_config else ["parts"])
        _check_parts(parts, weights)
        self.parts, self.weights = parts, weights
        self.root, self.missing_parts = root, missing_parts
        self._used: Sequence[PromptableDataModule] = parts
        for part in parts:
            part.image_size, part.image_fit = image_size, image_fit
            if root is not None:
                part.look_in(root)

    def place(self) -> str:
        """Return where the tables lie."""
        return ", ".join(part.place() for part in self._used)

    def tables(self) -> Sequence[Table]:
        """Return the tables of the parts that are there."""
        return [part.table for part in self._used]

    def prepare_data(self) -> None:
        """Make the tables that are not there.

        Raises:
            DatasetNotFoundError: neither a part's table nor its raw release is there.
            ConversionError: not one image of a release could be used.
        """
        available, missing = self._available()
        for trouble in missing:
            log.warning("left out of the mixture: %s", trouble)
        for part in available:
            part.prepare_data()

    def _available(self) -> tuple[list[PromptableDataModule], list[str]]:
        """Return the parts that are there, and why the others are not.

        Raises:
            DatasetNotFoundError: some are missing that may not be, or all are.
        """
        available, missing = [], []
        for part in self.parts:
            try:
                part.check_available()
                available.append(part)
            except DatasetNotFoundError as error:
                missing.append(str(error))
        if missing and (self.missing_parts == "error" or not available):
            what = "\n".join(f"- {trouble}" for trouble in missing)
            remedy = "\nTo go on without them, set data.missing_parts to skip"
            raise DatasetNotFoundError(
                f"{len(missing)} of the {len(self.parts)} parts of the mixture are not there:\n"
                f"{what}{remedy if available else ''}"
            )
        return available, missing

    def load_rows(self) -> Mapping[Split, Rows]:
        """Open the tables; the rows of a split are those of all parts, in their order.

        Raises:
            TableError: a table was prepared with other settings, or can't be read.
            FilterError: a filter names what is not in its table, or leaves nothing.
            DatasetNotFoundError: see :meth:`prepare_data`.
        """
        self._used, _ = self._available()
        loaded = [part.load_rows() for part in self._used]
        self._sizes = [len(rows["train"]) for rows in loaded]
        return {split: JoinedRows([rows[split] for rows in loaded]) for split in SPLITS}

    def strata(self) -> Sequence[Stratum]:
        """Return how the training rows share an epoch: by part, then by each part's sampling.

        Raises:
            SamplingError: the weights of a part don't fit the groups in its training set.
            ValueError: a part with a weight has no training rows.
        """
        shares: Sequence[float] = self._sizes
        if self.weights is not None:
            weights = zip(self.parts, self.weights, strict=True)
            shares = [weight for part, weight in weights if part in self._used]
        strata: list[Stratum] = []
        begins = np.cumsum([0, *self._sizes]).tolist()
        for part, share, size, begin in zip(
            self._used, shares, self._sizes, begins[:-1], strict=True
        ):
            if not share:
                continue
            if not size:
                raise ValueError(f"{part.place()} has a weight but no rows for the train split")
            own = part.strata()
            total = sum(stratum.share for stratum in own)
            strata += [Stratum(s.rows + begin, share * s.share / total) for s in own]
        if self.weights is None and self.epoch_size is None and _are_whole(self._used):
            # Every image once: one permutation of all, not parts drawn side by side.
            return [Stratum(np.arange(begins[-1]), 1.0)]
        return strata

    def used_rows(self) -> Sequence[UsedRows]:
        """Return the rows that are used, table by table."""
        return [rows for part in self._used for rows in part.used_rows()]

    def wants_validation(self) -> bool:
        """Whether a part keeps a share for validation."""
        return any(part.wants_validation() for part in self._used)

    def rows_key(self) -> int:
        """Return a key of the training rows of all parts, in their order."""
        return stable_key("mixture", *(part.rows_key() for part in self._used))

    def groups(self) -> Groups:
        """Return the sources and modalities of all parts, sorted."""
        found = [part.groups() for part in self._used]
        return Groups(
            tuple(sorted({source for groups in found for source in groups.sources})),
            tuple(sorted({modality for groups in found for modality in groups.modalities})),
        )


def _are_whole(parts: Sequence[PromptableDataModule]) -> bool:
    return all(part.sampling is None for part in parts)


def _check_parts(parts: Sequence[PromptableDataModule], weights: Sequence[float] | None) -> None:
    if not parts:
        raise ValueError("data.parts: a mixture needs at least one datamodule")
    if weights is not None:
        if len(weights) != len(parts):
            raise ValueError(f"data.weights: {len(weights)} weights for {len(parts)} parts")
        if not all(0 <= weight < float("inf") for weight in weights) or not any(weights):
            raise ValueError(
                f"data.weights must be 0 or more, and one at least above 0, got {list(weights)}"
            )
    for part in parts:
        if part.augmentation:
            raise ValueError(
                f"data.parts: {type(part).__name__} has augmentation of its own; set "
                "data.augmentation of the mixture"
            )
        if part.epoch_size is not None:
            raise ValueError(
                f"data.parts: {type(part).__name__} has sampling.epoch_size; set data.epoch_size "
                "of the mixture"
            )
