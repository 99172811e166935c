"""From stored pixels to the place that they have in the model's square."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from PIL import Image

from syncsam_lightning.data.cropping import tight
from syncsam_lightning.geometry import ResizePlan
from syncsam_lightning.records import CroppedMask

NearestRule = Literal["nearest_corner", "nearest_center"]
"""Which pixel of an original a cell takes: the one at its upper left corner (OpenCV's
``INTER_NEAREST``), or the one at its centre (Pillow's ``NEAREST``)."""

_HALF = 0.5 - 2.0**-12  # some exact halves come out below it
_LEVELS = 4  # cells whose shares differ by less than a quarter of the largest are covered alike


def resize_image(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize ``(h, w, c)`` uint8: sides that shrink by area, sides that grow bilinearly."""
    if image.shape[:2] == (height, width):
        return image
    return _resize(image, height, width).reshape(height, width, image.shape[2])


def resize_masks(masks: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize ``(n, h, w)`` bool masks, so that objects lie where their resized image shows them.

    A cell is foreground if the object covers at least half of it. That alone would delete what is
    thin or small. So where the cells that it covers less hold more of an object than the others,
    its best covered cells are taken instead: as many as its area asks for, and at least one, so
    that no mask with foreground comes out empty. Of cells that are covered alike, some are taken
    at equal distances in reading order, so that what is thin stays where it is.
    """
    if masks.shape[1:] == (height, width):
        return masks
    out = np.empty((len(masks), height, width), bool)
    for target, mask in zip(out, masks, strict=True):
        target[:] = resize_crop(tight(mask), height, width).whole()
    return out


def resize_crop(mask: CroppedMask, height: int, width: int) -> CroppedMask:
    """Resize the tight box of a mask as :func:`resize_masks` does the whole."""
    if mask.shape == (height, width):
        return mask
    if not mask.pixels.size:
        return CroppedMask((height, width), 0, 0, mask.pixels)
    left, shares = _shares(mask, height, width)
    found: np.ndarray = shares >= _HALF
    kept, whole = cv2.sumElems(cv2.copyTo(shares, found.view(np.uint8))), cv2.sumElems(shares)
    if 2 * kept[0] <= whole[0]:
        found = _best_covered(shares)
    return tight(CroppedMask((height, width), 0, left, found))


def _shares(mask: CroppedMask, height: int, width: int) -> tuple[int, np.ndarray]:
    """Return how much of each cell an object covers, from the first column that it touches on.

    Args:
        mask: with foreground.
        height: number of rows of cells.
        width: number of columns of cells.

    Returns:
        that column, and ``(height, columns)`` float32, 0 to 1.
    """
    # One side after the other, and only where the object is: averaging what is empty takes longer.
    (rows, columns), place = mask.pixels.shape, slice(mask.left, None)
    whole_rows = np.zeros((rows, mask.shape[1]), np.float32)
    whole_rows[:, place][:, :columns] = mask.pixels
    across = _resize(whole_rows, rows, width)
    left, _, columns, _ = cv2.boundingRect((across != 0).view(np.uint8))
    strip = np.zeros((mask.shape[0], columns), np.float32)
    strip[mask.top : mask.top + rows] = across[:, left : left + columns]
    # OpenCV gives an array of one column back as it is.
    return left, _resize(strip, height, columns).reshape(height, columns)


def _best_covered(shares: np.ndarray) -> np.ndarray:
    """Return the cells with the largest shares: as many as all shares add up to, at least one."""
    number = max(1, round(float(shares.sum(dtype=np.float64))))
    levels = np.round(shares.ravel() * (_LEVELS / shares.max()))
    limit = np.partition(levels, -number)[-number]
    kept: np.ndarray = levels > limit
    alike = np.flatnonzero((levels == limit) & (shares.ravel() > 0))
    places = 2 * np.arange(number - np.count_nonzero(kept)) + 1
    kept[alike[places * len(alike) // (2 * len(places))]] = True
    return kept.reshape(shares.shape)


def _resize(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Average along sides that shrink, interpolate along those that grow.

    OpenCV averages areas only where neither side grows.
    """
    smaller = min(height, pixels.shape[0]), min(width, pixels.shape[1])
    for shape, rule in ((smaller, cv2.INTER_AREA), ((height, width), cv2.INTER_LINEAR)):
        if pixels.shape[:2] != shape:
            pixels = cv2.resize(pixels, shape[::-1], interpolation=rule)
    return pixels


def nearest_pixels(old: int, new: int, rule: NearestRule) -> np.ndarray:
    """Return which pixel each cell takes along a side: ``(new,)`` int64 in [0, old).

    Asked of the library whose rule it is, so that cells between two pixels are decided as there.

    Args:
        old: pixels of the original.
        new: cells.
        rule: see :data:`NearestRule`.
    """
    pixels = np.arange(old, dtype=np.float32)[None]
    if rule == "nearest_corner":
        taken = cv2.resize(pixels, (new, 1), interpolation=cv2.INTER_NEAREST)
    else:
        taken = np.asarray(Image.fromarray(pixels).resize((new, 1), Image.Resampling.NEAREST))
    pixel: np.ndarray = taken[0].astype(np.int64)
    return pixel


def fit_image(image: np.ndarray, plan: ResizePlan) -> np.ndarray:
    """Return ``(h', w', c)``: an image at the size it has inside the model's square."""
    return resize_image(image, *plan.resized)


def put_into(square: np.ndarray, pixels: np.ndarray, plan: ResizePlan) -> None:
    """Write ``(..., h, w)`` pixels to their place in ``(..., S, S)``, and zeros elsewhere."""
    (top, left), (height, width) = plan.origin, plan.resized
    bottom, right = top + height, left + width
    square[..., top:bottom, left:right] = pixels
    square[..., :top, :] = 0
    square[..., bottom:, :] = 0
    square[..., top:bottom, :left] = 0
    square[..., top:bottom, right:] = 0
