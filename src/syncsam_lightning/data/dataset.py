"""Map-style data sets over a table: rows in, samples in the model frame out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch.utils.data import Dataset

from syncsam_lightning.data.batch import ImageInfo, ObjectInfo
from syncsam_lightning.data.sampler import EvaluationKey, TrainingKey
from syncsam_lightning.data.table import Table
from syncsam_lightning.data.transforms import (
    Augmentation,
    AugmentationConfig,
    fit_image,
    pad_to_square,
    resize_masks,
)
from syncsam_lightning.geometry import ResizePlan
from syncsam_lightning.records import ImageRecord
from syncsam_lightning.seeding import mask_key, numpy_generator, stable_key

_EVALUATION_EPOCH = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with the objects chosen on it, in the model frame.

    Args:
        image: ``(S, S, 1 or 3)`` uint8.
        masks: ``(n, S, S)`` bool.
        size: height and width of the image part of the square.
        keys: n random keys, see :class:`syncsam_lightning.prompts.Targets`.
        info: who the image is.
        objects: who the objects are.
        original: for evaluation, ``(n, H, W)`` bool at the original resolution.
        original_boxes: for evaluation, ``(n, 4)`` float32 in original pixels.
    """

    image: np.ndarray
    masks: np.ndarray
    size: tuple[int, int]
    keys: tuple[int, ...]
    info: ImageInfo
    objects: tuple[ObjectInfo, ...]
    original: np.ndarray | None = None
    original_boxes: np.ndarray | None = None


class TrainingSet(Dataset[Sample]):
    """Training rows, each with a fixed number of masks drawn with replacement.

    Everything random is a function of (seed, epoch, image id): the same for any number of workers
    and ranks, and after a restart.

    Args:
        table: to read from.
        offsets: positions of the training rows in the table.
        image_size: side S of the model's square.
        masks_per_image: M, masks drawn from each image.
        seed: of everything random.
        augmentation: see :class:`Augmentation`.
    """

    def __init__(
        self,
        table: Table,
        offsets: np.ndarray,
        *,
        image_size: int,
        masks_per_image: int,
        seed: int,
        augmentation: AugmentationConfig = (),
    ) -> None:
        self.table, self.offsets = table, offsets
        self.image_size, self.masks_per_image, self.seed = image_size, masks_per_image, seed
        self.augmentation = Augmentation(augmentation) if augmentation else None

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, key: TrainingKey) -> Sample:
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[TrainingKey]) -> list[Sample]:
        """Read the rows of a batch in one request."""
        records = self.table.read([self.offsets[key.row] for key in keys])
        return [self._sample(key, record) for key, record in zip(keys, records, strict=True)]

    def _sample(self, key: TrainingKey, record: ImageRecord) -> Sample:
        plan = ResizePlan(record.height, record.width, self.image_size)
        image, masks = fit_image(record.image, plan), resize_masks(record.masks, *plan.resized)
        if self.augmentation is not None:
            changed, moved = self.augmentation(
                image, masks, key=stable_key("augment", self.seed, key.epoch, record.id)
            )
            # A transform may push every object off the image; there is nothing to learn then.
            if moved.any():
                image, masks = changed, moved
        there = np.flatnonzero(masks.any(axis=(1, 2)))
        rng = numpy_generator("masks", self.seed, key.epoch, record.id)
        chosen = there[rng.integers(len(there), size=self.masks_per_image)]
        keys = [
            # The same mask drawn twice gets different prompts.
            stable_key(slot, mask_key(self.seed, key.epoch, record.id, int(record.mask_ids[i])))
            for slot, i in enumerate(chosen)
        ]
        return Sample(
            image=pad_to_square(image, self.image_size),
            masks=_pad_masks(masks[chosen], self.image_size),
            size=plan.resized,
            keys=tuple(keys),
            info=_image_info(key.row, record),
            objects=tuple(_object_info(record, int(i)) for i in chosen),
        )


class EvaluationSet(Dataset[Sample]):
    """Rows for validation, test or prediction, each with all its masks.

    Args:
        table: to read from.
        offsets: positions of the rows in the table.
        image_size: side S of the model's square.
        seed: of the prompts.
    """

    def __init__(self, table: Table, offsets: np.ndarray, *, image_size: int, seed: int) -> None:
        self.table, self.offsets = table, offsets
        self.image_size, self.seed = image_size, seed

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, key: EvaluationKey) -> Sample:
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[EvaluationKey]) -> list[Sample]:
        """Read the rows of a batch in one request."""
        records = self.table.read([self.offsets[key.row] for key in keys])
        return [self._sample(key, record) for key, record in zip(keys, records, strict=True)]

    def _sample(self, key: EvaluationKey, record: ImageRecord) -> Sample:
        plan = ResizePlan(record.height, record.width, self.image_size)
        masks = resize_masks(record.masks, *plan.resized)
        return Sample(
            image=pad_to_square(fit_image(record.image, plan), self.image_size),
            masks=_pad_masks(masks, self.image_size),
            size=plan.resized,
            keys=tuple(
                mask_key(self.seed, _EVALUATION_EPOCH, record.id, int(mask_id))
                for mask_id in record.mask_ids
            ),
            info=_image_info(key.row, record, valid=key.valid),
            objects=tuple(_object_info(record, i) for i in range(record.num_masks)),
            original=record.masks,
            original_boxes=record.boxes,
        )


def _pad_masks(masks: np.ndarray, size: int) -> np.ndarray:
    padded = np.zeros((len(masks), size, size), bool)
    padded[:, : masks.shape[1], : masks.shape[2]] = masks
    return padded


def _image_info(row: int, record: ImageRecord, *, valid: bool = True) -> ImageInfo:
    return ImageInfo(
        index=row,
        id=record.id,
        height=record.height,
        width=record.width,
        modality=record.modality,
        source=record.source,
        case=record.case,
        valid=valid,
    )


def _object_info(record: ImageRecord, index: int) -> ObjectInfo:
    return ObjectInfo(
        mask_id=int(record.mask_ids[index]),
        label=record.labels[index],
        area=int(record.areas[index]),
    )
