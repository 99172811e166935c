"""Map-style data sets over the rows of tables: rows in, samples in the model frame out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from torch.utils.data import Dataset

from syncsam_lightning.data.augmentation import Augmentation, AugmentationConfig
from syncsam_lightning.data.batch import ImageInfo, ObjectInfo
from syncsam_lightning.data.damage import DamagedRow, read_around_damage
from syncsam_lightning.data.resize import fit_image, resize_masks
from syncsam_lightning.data.row import StoredRow
from syncsam_lightning.data.rows import Rows
from syncsam_lightning.data.sampler import EvaluationKey, TrainingKey
from syncsam_lightning.errors import DamagedRowError, TableError
from syncsam_lightning.geometry import Fit, PackedMasks, ResizePlan
from syncsam_lightning.seeding import mask_key, numpy_generator, stable_key

_EVALUATION_EPOCH = 0
_STAND_INS_TRIED = 100
_MOST_CHANGED = 128
"""Objects of an image that are augmented with it; of more, some are drawn first."""

_Key = TypeVar("_Key", TrainingKey, EvaluationKey)


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with the objects chosen on it, at the size it has inside the model's square.

    Args:
        image: ``(h, w, 1 or 3)`` uint8.
        masks: n masks ``(h, w)`` bool.
        plan: where in the square the image lies.
        keys: n random keys, see :class:`syncsam_lightning.prompts.Targets`.
        info: who the image is.
        objects: who the objects are.
        original: for evaluation, the n masks ``(H, W)`` at the original resolution.
        original_boxes: for evaluation, ``(n, 4)`` float32 in original pixels.
    """

    image: np.ndarray
    masks: Sequence[np.ndarray]
    plan: ResizePlan
    keys: tuple[int, ...]
    info: ImageInfo
    objects: tuple[ObjectInfo, ...]
    original: PackedMasks | None = None
    original_boxes: np.ndarray | None = None


class TrainingSet(Dataset[Sample]):
    """Training rows, each with a fixed number of masks drawn with replacement.

    Everything random is a function of (seed, epoch, image id), and of how often the order has
    brought the image before in that epoch: the same for any number of workers and ranks, and after
    a restart.

    Args:
        rows: the training rows.
        image_size: side S of the model's square.
        image_fit: how an image lies in it.
        masks_per_image: M, masks drawn from each image.
        seed: of everything random.
        augmentation: see :class:`Augmentation`.
    """

    def __init__(
        self,
        rows: Rows,
        *,
        image_size: int,
        image_fit: Fit = "pad",
        masks_per_image: int,
        seed: int,
        augmentation: AugmentationConfig = (),
    ) -> None:
        self.rows = rows
        self.image_size, self.image_fit = image_size, image_fit
        self.masks_per_image, self.seed = masks_per_image, seed
        self.augmentation = Augmentation(augmentation) if augmentation else None

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: TrainingKey) -> Sample:
        return self._sample(key, self.rows.read([key.row])[0])

    def __getitems__(self, keys: Sequence[TrainingKey]) -> list[Sample | DamagedRow]:
        """Read the rows of a batch in one request, and tell which are damaged.

        Where all are, another row comes in addition: on several ranks each must take its step.

        Raises:
            TableError: the table as a whole can't be read.
        """
        draws = numpy_generator("stand-in", self.seed, *keys[0]).integers(
            len(self), size=_STAND_INS_TRIED
        )
        stand_ins = (keys[0]._replace(row=row) for row in draws.tolist())
        return _samples(self.rows, keys, self._sample, stand_ins)

    def _sample(self, key: TrainingKey, row: StoredRow) -> Sample:
        # A first visit leaves the repeat out, as before orders could repeat a row.
        visit = (key.epoch, row.id, key.repeat) if key.repeat else (key.epoch, row.id)
        plan = ResizePlan(row.height, row.width, self.image_size, self.image_fit)
        image = fit_image(row.image(), plan)
        masks: Sequence[np.ndarray] | None = None
        if self.augmentation is not None and row.num_masks > _MOST_CHANGED:
            some = numpy_generator("some masks", self.seed, *visit)
            kept = some.choice(row.num_masks, _MOST_CHANGED, replace=False)
            row = row.with_masks(np.sort(kept).tolist())
        there: Sequence[int] = range(row.num_masks)
        if self.augmentation is not None:
            before = np.stack([_fit_mask(row.mask(i), plan) for i in range(row.num_masks)])
            changed, moved = self.augmentation(
                image, before, key=stable_key("augment", self.seed, *visit)
            )
            # A transform may push every object off the image; there is nothing to learn then.
            image, masks = (changed, list(moved)) if moved.any() else (image, list(before))
            there = [index for index, mask in enumerate(masks) if mask.any()]
        rng = numpy_generator("masks", self.seed, *visit)
        draws = rng.integers(len(there), size=self.masks_per_image).tolist()
        chosen = [there[draw] for draw in draws]
        if masks is None:
            fitted = {index: _fit_mask(row.mask(index), plan) for index in set(chosen)}
            drawn = [fitted[index] for index in chosen]
        else:
            drawn = [masks[index] for index in chosen]
        return Sample(
            image=image,
            masks=drawn,
            plan=plan,
            keys=tuple(self._mask_key(key, slot, row, i) for slot, i in enumerate(chosen)),
            info=_image_info(key.row, row),
            objects=tuple(_object_info(row, index) for index in chosen),
        )

    def _mask_key(self, key: TrainingKey, slot: int, row: StoredRow, index: int) -> int:
        # The same mask drawn twice, from one visit of the image or from two, gets other prompts.
        slot += key.repeat * self.masks_per_image
        return stable_key(slot, mask_key(self.seed, key.epoch, row.id, int(row.mask_ids[index])))


class EvaluationSet(Dataset[Sample]):
    """Rows for validation, test or prediction, each with all its masks.

    Args:
        rows: the rows.
        image_size: side S of the model's square.
        image_fit: how an image lies in it.
        seed: of the prompts.
    """

    def __init__(self, rows: Rows, *, image_size: int, image_fit: Fit = "pad", seed: int) -> None:
        self.rows, self.image_size, self.image_fit, self.seed = rows, image_size, image_fit, seed

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: EvaluationKey) -> Sample:
        return self._sample(key, self.rows.read([key.row])[0])

    def __getitems__(self, keys: Sequence[EvaluationKey]) -> list[Sample | DamagedRow]:
        """Read the rows of a batch in one request, and tell which are damaged.

        Where all are, another row that is not valid comes in addition.

        Raises:
            TableError: the table as a whole can't be read.
        """
        draws = numpy_generator("stand-in", self.seed, keys[0].row).integers(
            len(self), size=_STAND_INS_TRIED
        )
        stand_ins = (EvaluationKey(row, valid=False) for row in draws.tolist())
        return _samples(self.rows, keys, self._sample, stand_ins)

    def _sample(self, key: EvaluationKey, row: StoredRow) -> Sample:
        plan = ResizePlan(row.height, row.width, self.image_size, self.image_fit)
        original = row.packed_masks()
        return Sample(
            image=fit_image(row.image(), plan),
            masks=[_fit_mask(mask.numpy(), plan) for mask in original],
            plan=plan,
            keys=tuple(
                mask_key(self.seed, _EVALUATION_EPOCH, row.id, mask_id)
                for mask_id in row.mask_ids.tolist()
            ),
            info=_image_info(key.row, row, valid=key.valid),
            objects=tuple(_object_info(row, index) for index in range(row.num_masks)),
            original=original,
            original_boxes=row.boxes.astype(np.float32),
        )


def _samples(
    rows: Rows,
    keys: Sequence[_Key],
    make: Callable[[_Key, StoredRow], Sample],
    stand_ins: Iterator[_Key],
) -> list[Sample | DamagedRow]:
    """Return what came of each key, and if that is damage alone the first stand-in that is whole.

    Args:
        rows: to read from.
        keys: of a batch.
        make: a sample of a key and its row.
        stand_ins: keys of other rows, tried in order.
    """
    stored = read_around_damage(rows, [key.row for key in keys])
    found: list[Sample | DamagedRow] = [
        _sample(make, key, row) for key, row in zip(keys, stored, strict=True)
    ]
    if any(isinstance(item, Sample) for item in found):
        return found
    for key in stand_ins:
        (row,) = read_around_damage(rows, [key.row])
        if isinstance(item := _sample(make, key, row), Sample):
            return [*found, item]
    reasons = "; ".join(item.reason for item in found[:3] if isinstance(item, DamagedRow))
    raise TableError(
        f"no row of a batch could be read, nor any of {_STAND_INS_TRIED} others that were tried in "
        f"their place: {reasons}"
    )


def _sample(
    make: Callable[[_Key, StoredRow], Sample], key: _Key, row: StoredRow | DamagedRow
) -> Sample | DamagedRow:
    if isinstance(row, DamagedRow):
        return replace(row, valid=key.valid)
    try:
        return make(key, row)
    except DamagedRowError as error:
        return DamagedRow(key.row, str(error), key.valid)


def _fit_mask(mask: np.ndarray, plan: ResizePlan) -> np.ndarray:
    """Bring a mask to the size that its image has inside the square."""
    fitted: np.ndarray = resize_masks(mask[None], *plan.resized)[0]
    return fitted


def _image_info(index: int, row: StoredRow, *, valid: bool = True) -> ImageInfo:
    return ImageInfo(
        index=index,
        id=row.id,
        height=row.height,
        width=row.width,
        modality=row.modality,
        source=row.source,
        case=row.case,
        valid=valid,
    )


def _object_info(row: StoredRow, index: int) -> ObjectInfo:
    return ObjectInfo(
        mask_id=int(row.mask_ids[index]), label=row.labels[index], area=int(row.areas[index])
    )
