"""Samples to a batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from syncsam_lightning.data.batch import ImageBatch
from syncsam_lightning.data.dataset import Sample
from syncsam_lightning.geometry import ResizePlan, masks_to_boxes
from syncsam_lightning.prompts import Targets


def collate(samples: Sequence[Sample]) -> ImageBatch:
    """Pad samples to the model's square and stack them; objects keep the order of their images.

    Boxes in the model frame are those of the masks there in training, and the original boxes mapped
    by the resize plan in evaluation.
    """
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
        sizes=torch.tensor([sample.size for sample in samples]),
    )
    return ImageBatch(
        images=_stacked_images(samples),
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


# One array for each batch, written in place: copies and their fresh pages would cost more than
# decoding.


def _allocated(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return a tensor to write to; in a worker it lies where the main process will read it."""
    tensor = torch.empty(shape, dtype=dtype)
    if get_worker_info() is not None:
        tensor.share_memory_()  # type: ignore[no-untyped-call]
    return tensor


def _stacked_images(samples: Sequence[Sample]) -> Tensor:
    side = samples[0].side
    images = _allocated((len(samples), 3, side, side), torch.uint8)
    for square, sample in zip(images.numpy(), samples, strict=True):
        _pad_into(square, sample.image.transpose(2, 0, 1))  # grey is repeated
    return images


def _stacked_masks(samples: Sequence[Sample]) -> Tensor:
    side, masks = samples[0].side, [mask for sample in samples for mask in sample.masks]
    stacked = _allocated((len(masks), side, side), torch.bool)
    for square, mask in zip(stacked.numpy(), masks, strict=True):
        _pad_into(square, mask)
    return stacked


def _pad_into(square: np.ndarray, pixels: np.ndarray) -> None:
    """Write ``(..., h, w)`` pixels into the top left of ``(..., S, S)``, and zeros elsewhere."""
    height, width = pixels.shape[-2:]
    square[..., :height, :width] = pixels
    square[..., height:, :] = 0
    square[..., :height, width:] = 0


def _mapped_boxes(sample: Sample) -> Tensor:
    if sample.original_boxes is None:
        raise ValueError(f"sample {sample.info.id} has no original boxes")
    plan = ResizePlan(sample.info.height, sample.info.width, sample.side)
    return plan.boxes_to_model(torch.from_numpy(sample.original_boxes))
