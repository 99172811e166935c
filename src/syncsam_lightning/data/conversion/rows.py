"""Turning a sample into a row of the table, or into the reasons why it can't be one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from syncsam_lightning.data.codec import (
    collapse_grey,
    encode_crop,
    encode_image,
    image_digest,
)
from syncsam_lightning.data.readers import resolve_crop, resolve_image
from syncsam_lightning.data.resize import fit_image, resize_crop
from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.geometry import ResizePlan
from syncsam_lightning.records import RawSample, Skipped, Split

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _StoredMask:
    """What the row keeps of a usable mask: its pixels are encoded before the next one is read."""

    mask_id: int
    label: str
    frame: bytes
    box: list[int]
    area: int


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
        height, width = image.shape[:2]
        plan = None
        if split == "train" and max(height, width) > self._image_size:
            plan = ResizePlan(height, width, self._image_size)
        kept = self._usable_masks(sample, (height, width), plan)
        if not kept:
            reason, kind = "no usable mask", "image without usable mask"
            if not len(sample.masks):
                reason, kind = "no mask of a class that is asked for", "image without masks"
            self._skip(Skipped(path, reason, kind, sample.source))
            return None
        pixels = collapse_grey(image)
        digest = image_digest(pixels)  # before it is resized
        if plan is not None:
            pixels = fit_image(pixels, plan)
        return _row(sample, split, (height, width), pixels, kept) | {"image_digest": digest}

    def _usable_masks(
        self, sample: RawSample, shape: tuple[int, int], plan: ResizePlan | None
    ) -> list[_StoredMask]:
        kept = []
        for mask_id, named in enumerate(sample.masks):
            path = named.path or f"{sample.path or sample.id}::{named.label}"
            try:
                mask = resolve_crop(named.mask, path)
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
            elif not mask.pixels.size:
                self._skip(Skipped(path, "empty mask", "empty mask", sample.source))
            else:
                area = int(np.count_nonzero(mask.pixels))
                height, width = mask.pixels.shape
                box = [mask.left, mask.top, mask.left + width, mask.top + height]
                if plan is not None:
                    mask = resize_crop(mask, *plan.resized)
                kept.append(_StoredMask(mask_id, named.label, encode_crop(mask), box, area))
        return kept


def _row(
    sample: RawSample,
    split: Split,
    shape: tuple[int, int],
    image: np.ndarray,
    kept: list[_StoredMask],
) -> Row:
    return {
        "id": sample.id,
        "image": encode_image(image),
        "stored_height": image.shape[0],
        "stored_width": image.shape[1],
        "channels": image.shape[2],
        "height": shape[0],
        "width": shape[1],
        "modality": sample.modality,
        "source": sample.source,
        "case": sample.case,
        "slice": sample.slice,
        "split": split,
        "masks": [mask.frame for mask in kept],
        "labels": [mask.label for mask in kept],
        "boxes": [mask.box for mask in kept],
        "areas": [mask.area for mask in kept],
        "mask_ids": [mask.mask_id for mask in kept],
    }
