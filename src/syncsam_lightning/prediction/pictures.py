"""Whatever a user calls an image, as the pixels that models take."""

from __future__ import annotations

import os
from typing import Literal

import numpy as np

from syncsam_lightning.data.readers import read_image, stretched
from syncsam_lightning.errors import InvalidImageError

Picture = np.ndarray | str | os.PathLike[str]
"""Pixels, or the path of an image file (PNG, JPEG, JPEG 2000, TIFF, BMP)."""

ImageFormat = Literal["RGB", "BGR"]


def rgb_pixels(image: Picture, image_format: ImageFormat = "RGB") -> np.ndarray:
    """Return an image as models take it.

    Grey is repeated on three channels and an alpha channel is dropped. uint8 stays as it is;
    anything else (16 bit, float; grey or colours) is stretched so that its own minimum is 0 and its
    maximum 255, which is also what training made of such files. Where the extremes say nothing, as
    in CT, apply a :class:`~syncsam_lightning.volumes.Window` first.

    Args:
        image: ``(H, W)`` or ``(H, W, 1 or 3 or 4)`` integers or floats, or the path of a file.
        image_format: order of the channels of an array; OpenCV's is ``"BGR"``.

    Returns:
        ``(H, W, 3)`` uint8 RGB.

    Raises:
        InvalidImageError: the array is no image; the message says what is wrong with it.
        BrokenInputError: the file can't be read.
    """
    if isinstance(image, str | os.PathLike):
        pixels, image_format = read_image(image), "RGB"
    else:
        pixels = _checked(np.asarray(image))
    if pixels.dtype != np.uint8:
        pixels = stretched(pixels)
    if pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    return np.ascontiguousarray(pixels[..., ::-1] if image_format == "BGR" else pixels)


def _checked(pixels: np.ndarray) -> np.ndarray:
    """Return ``(H, W, 1 or 3)`` numbers, without alpha."""
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or 0 in pixels.shape:
        hint = ""
        if pixels.ndim == 3 and pixels.shape[0] in (1, 3, 4):
            hint = "; channels come last: image.transpose(1, 2, 0)"
        elif pixels.ndim == 3:
            hint = "; a volume goes to VolumePredictor"
        raise InvalidImageError(
            f"an image is (H, W) or (H, W, 1, 3 or 4), got the shape {pixels.shape}{hint}"
        )
    if pixels.dtype.kind not in "iuf":
        raise InvalidImageError(f"an image holds integers or floats, got {pixels.dtype}")
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise InvalidImageError("the image holds values that are not finite (NaN or infinite)")
    return pixels[..., :3] if pixels.shape[2] == 4 else pixels
