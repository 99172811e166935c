"""Samples to a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from syncsam_lightning.data.batch import ImageBatch
from syncsam_lightning.data.dataset import Sample
from syncsam_lightning.geometry import ResizePlan, masks_to_boxes
from syncsam_lightning.prompts import Targets


def collate(samples: Sequence[Sample]) -> ImageBatch:
    """Stack samples; objects keep the order of their images.

    Boxes in the model frame are those of the masks there in training, and the original boxes mapped
    by the resize plan in evaluation.
    """
    images = np.stack([_three_channels(sample.image) for sample in samples])
    masks = torch.from_numpy(np.concatenate([sample.masks for sample in samples]))
    counts = torch.tensor([len(sample.masks) for sample in samples])
    evaluation = samples[0].original is not None
    size = samples[0].image.shape[0]
    if evaluation:
        boxes = torch.cat([_mapped_boxes(sample, size) for sample in samples])
    else:
        boxes = masks_to_boxes(masks)
    targets = Targets(
        masks=masks,
        boxes=boxes,
        image_index=torch.arange(len(samples)).repeat_interleave(counts),
        keys=torch.tensor([key for sample in samples for key in sample.keys], dtype=torch.int64),
        sizes=torch.tensor([sample.size for sample in samples]),
    )
    return ImageBatch(
        images=torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(),
        targets=targets,
        infos=[sample.info for sample in samples],
        objects=[entry for sample in samples for entry in sample.objects],
        original_masks=[torch.from_numpy(s.original) for s in samples if s.original is not None]
        if evaluation
        else None,
        original_boxes=torch.cat(
            [torch.from_numpy(s.original_boxes) for s in samples if s.original_boxes is not None]
        )
        if evaluation
        else None,
    )


def _three_channels(image: np.ndarray) -> np.ndarray:
    return np.broadcast_to(image, (*image.shape[:2], 3))


def _mapped_boxes(sample: Sample, size: int) -> torch.Tensor:
    if sample.original_boxes is None:
        raise ValueError(f"sample {sample.info.id} has no original boxes")
    plan = ResizePlan(sample.info.height, sample.info.width, size)
    return plan.boxes_to_model(torch.from_numpy(sample.original_boxes))
