"""Masks of which only the box around the object is kept."""

from __future__ import annotations

import cv2
import numpy as np

from syncsam_lightning.records import CroppedMask


def tight(mask: np.ndarray | CroppedMask) -> CroppedMask:
    """Keep the tight box of a mask; a box of no pixel if it has no foreground.

    Args:
        mask: ``(H, W)`` bool, or already less than that.
    """
    if isinstance(mask, np.ndarray):
        mask = CroppedMask((mask.shape[0], mask.shape[1]), 0, 0, mask)
    left, top, width, height = 0, 0, 0, 0
    if mask.pixels.size:
        left, top, width, height = cv2.boundingRect(mask.pixels.view(np.uint8))
    pixels = mask.pixels[top : top + height, left : left + width]
    return CroppedMask(mask.shape, mask.top + top, mask.left + left, pixels)
