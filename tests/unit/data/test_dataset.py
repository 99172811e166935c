"""Batches equal those of a plain reading that decodes everything and copies freely."""

import numpy as np
import pytest
import torch

from syncsam_lightning.data.augmentation import Augmentation
from syncsam_lightning.data.collate import collate
from syncsam_lightning.data.dataset import EvaluationSet, TrainingSet
from syncsam_lightning.data.resize import fit_image, resize_masks
from syncsam_lightning.data.rows import TableRows
from syncsam_lightning.data.sampler import EvaluationKey, TrainingKey
from syncsam_lightning.geometry import ResizePlan, masks_to_boxes
from syncsam_lightning.seeding import mask_key, numpy_generator, stable_key

SEED, MASKS = 5, 4


def square(pixels, side):
    height, width = pixels.shape[:2]
    pad = [(0, side - height), (0, side - width)] + [(0, 0)] * (pixels.ndim - 2)
    return np.pad(pixels, pad)


def plain_training_sample(record, epoch, side, augmentation):
    """Return image, masks and keys, as they are defined."""
    plan = ResizePlan(record.height, record.width, side)
    image, masks = fit_image(record.image, plan), resize_masks(record.masks, *plan.resized)
    if augmentation:
        key = stable_key("augment", SEED, epoch, record.id)
        changed, moved = Augmentation(augmentation)(image, masks, key=key)
        if moved.any():
            image, masks = changed, moved
    there = [index for index, mask in enumerate(masks) if mask.any()]
    rng = numpy_generator("masks", SEED, epoch, record.id)
    chosen = [there[draw] for draw in rng.integers(len(there), size=MASKS)]
    keys = [
        stable_key(slot, mask_key(SEED, epoch, record.id, int(record.mask_ids[index])))
        for slot, index in enumerate(chosen)
    ]
    image = np.broadcast_to(square(image, side), (side, side, 3)).transpose(2, 0, 1)
    return image, np.stack([square(masks[index], side) for index in chosen]), keys


@pytest.mark.parametrize("side", [32, 20, 64])  # stored at 32: as it is, smaller, larger
@pytest.mark.parametrize(
    "augmentation", [[], [{"name": "Affine", "translate_percent": [0.2, 0.7], "p": 0.8}]]
)
def test_a_training_batch_equals_plain_reading(tiny, side, augmentation):
    table = tiny().table
    offsets = table.offsets("train")
    rows = TableRows(table, offsets)
    options = {"masks_per_image": MASKS, "seed": SEED, "augmentation": augmentation}
    keys = [TrainingKey(3, row) for row in (4, 0, 7, 4, 9)]
    batch = collate(TrainingSet(rows, image_size=side, **options).__getitems__(keys))
    records = table.read(offsets[[key.row for key in keys]])
    samples = [plain_training_sample(record, 3, side, augmentation) for record in records]
    masks = torch.from_numpy(np.concatenate([masks for _, masks, _ in samples]))
    assert torch.equal(batch.images, torch.from_numpy(np.stack([s[0] for s in samples])))
    assert torch.equal(batch.targets.masks, masks)
    assert torch.equal(batch.targets.boxes, masks_to_boxes(masks))
    assert batch.targets.keys.tolist() == [key for _, _, keys in samples for key in keys]
    assert batch.images.is_contiguous()
    assert [info.id for info in batch.infos] == [record.id for record in records]


def test_an_evaluation_batch_equals_plain_reading(tiny):
    table = tiny().table
    offsets = table.offsets("test")
    dataset = EvaluationSet(TableRows(table, offsets), image_size=32, seed=SEED)
    batch = collate(dataset.__getitems__([EvaluationKey(1, True), EvaluationKey(0, False)]))
    records = table.read(offsets[[1, 0]])
    for image, record in zip(batch.images, records, strict=True):
        plan = ResizePlan(record.height, record.width, 32)
        expected = square(fit_image(record.image, plan), 32)
        assert np.array_equal(image.permute(1, 2, 0), np.broadcast_to(expected, (32, 32, 3)))
    masks = [resize_masks(r.masks, *ResizePlan(r.height, r.width, 32).resized) for r in records]
    expected = np.stack([square(mask, 32) for group in masks for mask in group])
    assert np.array_equal(batch.targets.masks, expected)
    for original, record in zip(batch.original_masks, records, strict=True):
        assert np.array_equal(original[:], record.masks)
    assert np.array_equal(batch.original_boxes, np.concatenate([r.boxes for r in records]))
    assert [info.valid for info in batch.infos] == [True, False]


@pytest.mark.parametrize("fit", ["stretch", "center"])
def test_images_and_masks_lie_in_the_square_as_the_fit_says(tiny, fit):
    table = tiny().table
    offsets = table.offsets("test")
    rows = TableRows(table, offsets)
    records = table.read(offsets[:2])
    side = max(max(r.height, r.width) for r in records) + 8
    dataset = EvaluationSet(rows, image_size=side, image_fit=fit, seed=SEED)
    batch = collate(dataset.__getitems__([EvaluationKey(0, True), EvaluationKey(1, True)]))
    position = 0
    for i, record in enumerate(records):
        plan = ResizePlan(record.height, record.width, side, fit)
        (height, width), (top, left) = plan.resized, plan.origin
        part = (slice(top, top + height), slice(left, left + width))
        image = np.broadcast_to(fit_image(record.image, plan), (height, width, 3))
        assert batch.images[i].permute(1, 2, 0)[part].numpy().tolist() == image.tolist()
        assert int(batch.images[i].sum()) == int(image.sum(dtype=np.int64))
        assert batch.targets.sizes[i].tolist() == [height, width]
        assert batch.targets.origins[i].tolist() == [top, left]
        for mask in resize_masks(record.masks, height, width):
            assert np.array_equal(batch.targets.masks[position][part].numpy(), mask)
            assert batch.targets.masks[position].sum() == mask.sum()
            position += 1
    assert (top > 0) == (fit == "center")
    assert batch.original_masks[0].shape[1:] == (records[0].height, records[0].width)


def test_a_row_repeated_in_an_epoch_gets_other_masks_keys_and_augmentation(tiny):
    table = tiny().table
    rows = TableRows(table, table.offsets("train"))
    augmentation = [{"name": "RandomBrightnessContrast", "brightness_limit": 0.3, "p": 1.0}]
    options = {"image_size": 32, "masks_per_image": 8, "seed": SEED, "augmentation": augmentation}
    dataset = TrainingSet(rows, **options)
    visits = [dataset[TrainingKey(0, 2, repeat)] for repeat in range(4)]
    assert len({visit.image.tobytes() for visit in visits}) == 4
    assert len({visit.keys for visit in visits}) == 4
    assert len({key for visit in visits for key in visit.keys}) == 32
    drawn = {tuple(entry.mask_id for entry in visit.objects) for visit in visits}
    assert len(drawn) > 1
    again = dataset[TrainingKey(0, 2, 3)]
    assert again.keys == visits[3].keys
    assert again.image.tobytes() == visits[3].image.tobytes()
