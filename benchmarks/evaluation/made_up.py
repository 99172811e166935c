"""Images with ellipses on them, as an evaluation loader would give them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from syncsam_lightning.data.batch import ImageBatch, ImageInfo, ObjectInfo
from syncsam_lightning.data.collate import collate
from syncsam_lightning.data.dataset import Sample
from syncsam_lightning.geometry import PackedMasks, ResizePlan, masks_to_boxes
from syncsam_lightning.seeding import mask_key, numpy_generator


def make_sample(number: int, side: int, num_masks: int) -> Sample:
    """Return one image of ``side`` × ``side`` pixels with ``num_masks`` ellipses."""
    rng = numpy_generator("evaluation benchmark", number)
    rows, columns = np.mgrid[:side, :side]
    centres = rng.uniform(0.25, 0.75, (num_masks, 2, 1, 1)) * side
    radii = rng.uniform(0.05, 0.2, (num_masks, 2, 1, 1)) * side
    offsets = (np.stack([rows, columns]) - centres) / radii
    masks = (offsets**2).sum(axis=1) <= 1
    image = rng.integers(0, 60, (side, side, 3), np.uint8)
    image[masks.any(axis=0)] += 120
    name = f"image-{number}"
    return Sample(
        image=image,
        masks=list(masks),
        plan=ResizePlan(side, side, side),
        keys=tuple(mask_key(0, 0, name, mask) for mask in range(num_masks)),
        info=ImageInfo(number, name, side, side, modality="ct", source="made up", case=name),
        objects=tuple(
            ObjectInfo(i, f"ellipse {i}", int(mask.sum())) for i, mask in enumerate(masks)
        ),
        original=PackedMasks.of(torch.from_numpy(masks)),
        original_boxes=masks_to_boxes(torch.from_numpy(masks)).numpy(),
    )


def batches(samples: list[Sample], size: int) -> list[ImageBatch]:
    """Return the samples in batches of ``size`` images."""
    return [collate(samples[begin : begin + size]) for begin in range(0, len(samples), size)]


def one_by_one(samples: list[Sample]) -> list[ImageBatch]:
    """Return a batch for every mask, each with its image."""
    assert all(
        sample.original is not None and sample.original_boxes is not None for sample in samples
    )
    return [
        collate(
            [
                replace(
                    sample,
                    masks=[sample.masks[mask]],
                    keys=sample.keys[mask : mask + 1],
                    objects=sample.objects[mask : mask + 1],
                    original=PackedMasks.of(sample.original[mask : mask + 1]),
                    original_boxes=sample.original_boxes[mask : mask + 1],
                )
            ]
        )
        for sample in samples
        for mask in range(len(sample.masks))
    ]
