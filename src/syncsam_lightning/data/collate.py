"""Samples to a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from syncsam_lightning.data.batch import ImageBatch
from syncsam_lightning.data.damage import DamagedRow
from syncsam_lightning.data.dataset import Sample
from syncsam_lightning.data.resize import put_into
from syncsam_lightning.geometry import masks_to_boxes
from syncsam_lightning.prompts import Targets


def collate(found: Sequence[Sample | DamagedRow]) -> ImageBatch:
    """Put samples into the model's square and stack them; objects keep the order of their images.

    Boxes in the model frame are those of the masks there in training, and the original boxes mapped
    by the resize plan in evaluation.

    Args:
        found: of a batch's rows; at least one sample.
    """
    samples = [item for item in found if isinstance(item, Sample)]
    masks = _stacked_masks(samples)
    counts = torch.tensor([len(sample.masks) for sample in samples])
    evaluation = samples[0].original is not None
    if evaluation:
        boxes = torch.cat([_mapped_boxes(sample) for sample in samples])
    else:
        boxes = masks_to_boxes(masks)
    targets = Targets(
        masks=masks,
        boxes=boxes,
        image_index=torch.arange(len(samples)).repeat_interleave(counts),
        keys=torch.tensor([key for sample in samples for key in sample.keys], dtype=torch.int64),
        sizes=torch.tensor([sample.plan.resized for sample in samples]),
        origins=torch.tensor([sample.plan.origin for sample in samples]),
    )
    return ImageBatch(
        images=_stacked_images(samples),
        targets=targets,
        infos=[sample.info for sample in samples],
        objects=[entry for sample in samples for entry in sample.objects],
        original_masks=[s.original for s in samples if s.original is not None]
        if evaluation
        else None,
        original_boxes=torch.cat(
            [torch.from_numpy(s.original_boxes) for s in samples if s.original_boxes is not None]
        )
        if evaluation
        else None,
        damaged=[item for item in found if isinstance(item, DamagedRow) and item.valid],
    )


# One array for each batch, written in place: copies and their fresh pages would cost more than
# decoding.


def _allocated(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return a tensor to write to; in a worker it lies where the main process will read it."""
    tensor = torch.empty(shape, dtype=dtype)
    if get_worker_info() is not None:
        tensor.share_memory_()  # type: ignore[no-untyped-call]
    return tensor


def _stacked_images(samples: Sequence[Sample]) -> Tensor:
    side = samples[0].plan.size
    images = _allocated((len(samples), 3, side, side), torch.uint8)
    for square, sample in zip(images.numpy(), samples, strict=True):
        put_into(square, sample.image.transpose(2, 0, 1), sample.plan)  # grey is repeated
    return images


def _stacked_masks(samples: Sequence[Sample]) -> Tensor:
    side = samples[0].plan.size
    masks = [(mask, sample.plan) for sample in samples for mask in sample.masks]
    stacked = _allocated((len(masks), side, side), torch.bool)
    for square, (mask, plan) in zip(stacked.numpy(), masks, strict=True):
        put_into(square, mask, plan)
    return stacked


def _mapped_boxes(sample: Sample) -> Tensor:
    if sample.original_boxes is None:
        raise ValueError(f"sample {sample.info.id} has no original boxes")
    return sample.plan.boxes_to_model(torch.from_numpy(sample.original_boxes))
