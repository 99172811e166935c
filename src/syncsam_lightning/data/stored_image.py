"""What an image file stores, before it is taken for an image or for a mask."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from syncsam_lightning.errors import BrokenInputError

MAX_PIXELS = 178_956_970
"""Largest image that is decoded; a header that declares more is refused before any allocation.

Pillow refuses from here on (twice its ``MAX_IMAGE_PIXELS``)."""

Model = Literal["grey", "palette", "rgb", "cmyk"]


@dataclass(frozen=True, slots=True)
class StoredImage:
    """The numbers of a file and what they stand for.

    Args:
        pixels: ``(H, W, C)`` as stored, of any number type; C is 1 for grey values and indices of
            a palette, 3 for colours (CMYK is converted to RGB).
        model: what the numbers are.
        alpha: ``(H, W)``, if there is such a channel.
        palette: ``(256, 3)`` uint8, the RGB of each index.
        bits: of a grey value that has less than 8; a file of 2 bits stores 0..3.
        white_is_zero: whether grey values are shown inverted (PhotometricInterpretation 0 of TIFF
            6.0, section 3).
    """

    pixels: np.ndarray
    model: Model
    alpha: np.ndarray | None = None
    palette: np.ndarray | None = None
    bits: int = 8
    white_is_zero: bool = False

    def upright(self, orientation: int) -> StoredImage:
        """Return the image as viewers show it.

        Args:
            orientation: 1..8 (EXIF 2.32 and TIFF 6.0, tag 274); anything else is taken for 1.
        """
        if orientation not in range(2, 9):
            return self
        alpha = None if self.alpha is None else _upright(self.alpha, orientation)
        return replace(self, pixels=_upright(self.pixels, orientation), alpha=alpha)


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    if orientation in (5, 6, 7, 8):  # rows of the file are columns of the image
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def check_size(width: int, height: int, path: str) -> None:
    """Refuse an image by what its header declares.

    Raises:
        BrokenInputError: it has no pixel, or more than :data:`MAX_PIXELS`.
    """
    if not 0 < width * height <= MAX_PIXELS:
        raise BrokenInputError(
            path, f"declares {width}x{height} pixels, over the limit of {MAX_PIXELS}"
        )


def several_pages(path: str, count: int) -> BrokenInputError:
    """Return the error for a file of several images."""
    return BrokenInputError(
        path,
        f"holds {count} pages, and one image is expected: save the one you mean as a file of its "
        "own, or a stack of slices as NIfTI",
        kind="several pages",
    )
