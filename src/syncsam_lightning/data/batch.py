"""What a loader hands to a LightningModule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from syncsam_lightning.data.damage import DamagedRow
from syncsam_lightning.geometry import PackedMasks
from syncsam_lightning.prompts import Targets


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """Who an object is, for reports and prompt files.

    Args:
        mask_id: number of the mask within the row of the table.
        label: class name.
        area: foreground pixels at the original resolution.
    """

    mask_id: int
    label: str
    area: int


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """Who an image is.

    Args:
        index: position of the row in its split, for exactly-once checks.
        id: the row's id.
        height, width: original size in pixels.
        modality, source, case: see :class:`syncsam_lightning.records.RawSample`.
        valid: False for an image that only fills up a rank's last batch; it must not be scored.
    """

    index: int
    id: str
    height: int
    width: int
    modality: str
    source: str
    case: str
    valid: bool = True


@dataclass(frozen=True, slots=True)
class ImageBatch:
    """B images with N objects on them.

    Args:
        images: ``(B, 3, S, S)`` uint8 RGB, resized and padded to the model frame.
        targets: the N objects in the model frame. ``targets.sizes`` tells image from padding.
        infos: B entries.
        objects: N entries, in the order of ``targets``.
        original_masks: for evaluation, per image n_b masks ``(H_b, W_b)`` at the original
            resolution, packed, objects in the order of ``targets``; None in training.
        original_boxes: for evaluation, ``(N, 4)`` float32 tight boxes in original pixels; None in
            training.
        damaged: rows that belong to the batch but could not be read; it is smaller by them. Where
            none was whole, another row of the set stands in, which in evaluation is not valid.
    """

    images: Tensor
    targets: Targets
    infos: Sequence[ImageInfo]
    objects: Sequence[ObjectInfo]
    original_masks: Sequence[PackedMasks] | None = None
    original_boxes: Tensor | None = None
    damaged: Sequence[DamagedRow] = ()

    @property
    def num_images(self) -> int:
        """B, the number of images."""
        return self.images.shape[0]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> ImageBatch:
        """Move everything a model or a metric computes with to ``device``."""
        return self._map(lambda value: value.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> ImageBatch:
        """Put every tensor into page-locked memory, for asynchronous copies to a GPU."""
        return self._map(lambda value: value.pin_memory())

    def _map(self, change: Callable[[Any], Any]) -> ImageBatch:
        masks, boxes = self.original_masks, self.original_boxes
        return replace(
            self,
            images=change(self.images),
            targets=change(self.targets),
            original_masks=None if masks is None else [change(mask) for mask in masks],
            original_boxes=None if boxes is None else change(boxes),
        )
