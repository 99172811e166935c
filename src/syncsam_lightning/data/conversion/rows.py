"""Turning a sample into a row of the table, or into the reasons why it can't be one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from syncsam_lightning.data.codec import (
    collapse_grey,
    encode_image,
    encode_mask,
    image_digest,
)
from syncsam_lightning.data.readers import resolve_image, resolve_mask
from syncsam_lightning.data.resize import fit_image, resize_masks
from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.geometry import ResizePlan
from syncsam_lightning.records import RawSample, Skipped, Split

Row = dict[str, Any]
_Kept = list[tuple[int, str, np.ndarray]]


class RowMaker:
    """Makes rows and tells what it leaves out.

    Args:
        image_size: long side of stored training rows in pixels; the others keep their size.
        skip: called with everything that cannot be used.
    """

    def __init__(self, image_size: int, skip: Callable[[Skipped], None]) -> None:
        self._image_size, self._skip = image_size, skip

    def row(self, sample: RawSample, split: Split) -> Row | None:
        """Return the row of a sample with masks, None if the image or all masks are unusable."""
        path = sample.path or sample.id
        try:
            image = resolve_image(sample.image, path)
        except BrokenInputError as error:
            self._skip(Skipped(error.path, error.reason, error.kind, sample.source))
            return None
        kept = self._usable_masks(sample, image.shape[:2])
        if not kept:
            self._skip(Skipped(path, "no usable mask", "image without usable mask", sample.source))
            return None
        return self._encode(sample, collapse_grey(image), kept, split)

    def _usable_masks(self, sample: RawSample, shape: tuple[int, ...]) -> _Kept:
        kept = []
        for mask_id, named in enumerate(sample.masks):
            path = named.path or f"{sample.path or sample.id}::{named.label}"
            try:
                mask = resolve_mask(named.mask, path)
            except BrokenInputError as error:
                self._skip(Skipped(error.path, error.reason, error.kind, sample.source))
                continue
            if mask.shape != shape:
                sizes = f"{mask.shape[0]}x{mask.shape[1]}, its image {shape[0]}x{shape[1]}"
                reason = f"mask differs from its image in shape: mask {sizes}"
                if mask.shape == shape[::-1]:
                    reason += (
                        "; its sides are swapped: the mask may have been drawn on the image without"
                        " the orientation that its EXIF asks for, which is applied here"
                    )
                self._skip(Skipped(path, reason, "shape mismatch", sample.source))
            elif not mask.any():
                self._skip(Skipped(path, "empty mask", "empty mask", sample.source))
            else:
                kept.append((mask_id, named.label, mask))
        return kept

    def _encode(self, sample: RawSample, image: np.ndarray, kept: _Kept, split: Split) -> Row:
        height, width = image.shape[:2]
        masks = np.stack([mask for _, _, mask in kept])
        boxes, areas = _tight_boxes(masks), masks.sum(axis=(1, 2)).tolist()
        digest = image_digest(image)  # before it is resized
        if split == "train" and max(height, width) > self._image_size:
            image = fit_image(image, ResizePlan(height, width, self._image_size))
            masks = resize_masks(masks, image.shape[0], image.shape[1])
        return {
            "id": sample.id,
            "image": encode_image(image),
            "stored_height": image.shape[0],
            "stored_width": image.shape[1],
            "channels": image.shape[2],
            "height": height,
            "width": width,
            "modality": sample.modality,
            "source": sample.source,
            "case": sample.case,
            "slice": sample.slice,
            "split": split,
            "masks": [encode_mask(mask) for mask in masks],
            "labels": [label for _, label, _ in kept],
            "boxes": boxes,
            "areas": areas,
            "mask_ids": [mask_id for mask_id, _, _ in kept],
            "image_digest": digest,
        }


def _tight_boxes(masks: np.ndarray) -> list[list[int]]:
    boxes = []
    for mask in masks:
        columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
        boxes.append([int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1])
    return boxes
