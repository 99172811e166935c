"""What Pillow and OpenCV make of a file, as the numbers that it stores."""

from __future__ import annotations

from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image

from syncsam_lightning.data.stored_image import StoredImage

_DEEP_GREY = ("I;16", "I;16B", "I;16L", "I", "F")


def pillow_pixels(image: Image.Image, bits: int = 8) -> StoredImage:
    """Return what Pillow has read.

    Args:
        image: as it was opened.
        bits: of a grey value in the file. Pillow spreads values of 2 and 4 bits over 0..255.

    Raises:
        ValueError: colours that Pillow can't convert.
    """
    if image.mode == "1":
        return StoredImage(np.asarray(image).astype(np.uint8)[..., None], "grey", bits=1)
    if image.mode in _DEEP_GREY:
        deep = np.asarray(image)
        return StoredImage(deep.astype(deep.dtype.newbyteorder("="))[..., None], "grey")
    if image.mode == "L":
        grey = np.asarray(image)
        if bits < 8:
            grey = grey // np.uint8(255 // (2**bits - 1))
        return StoredImage(grey[..., None], "grey", bits=min(bits, 8))
    if image.mode in ("P", "PA"):
        bands = np.asarray(image).reshape(image.height, image.width, -1)
        palette = np.zeros((256, 3), np.uint8)  # what a file leaves out is black
        listed = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)[:256]
        palette[: len(listed)] = listed
        alpha = bands[..., 1] if image.mode == "PA" else None
        return StoredImage(bands[..., :1], "palette", alpha, palette)
    if image.mode in ("LA", "La", "RGBA", "RGBa"):
        bands = _in_mode(image, image.mode.upper())
        return StoredImage(
            bands[..., :-1], "grey" if len(image.mode) == 2 else "rgb", bands[..., -1]
        )
    return StoredImage(_in_mode(image, "RGB"), "cmyk" if image.mode == "CMYK" else "rgb")


def _in_mode(image: Image.Image, mode: str) -> np.ndarray:
    return np.asarray(image if image.mode == mode else image.convert(mode))


def deep_colours(file: BinaryIO, channels: int) -> StoredImage | None:
    """Read colours of 16 bits, of which Pillow keeps the high byte only.

    Args:
        file: PNG, TIFF or JPEG 2000 that Pillow was able to decode, so that it is whole.
        channels: that the file has: 2 (grey and alpha), 3 (RGB) or 4 (and alpha).

    Returns:
        them, or None if they have 8 bits.

    Raises:
        ValueError: OpenCV can't decode the file.
    """
    file.seek(0)
    pixels = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise ValueError("its colours are not read; save it as PNG")
    if pixels.dtype != np.uint16:
        return None
    alpha = pixels[..., 3] if channels in (2, 4) and pixels.shape[2] == 4 else None
    if channels == 2:
        return StoredImage(pixels[..., :1], "grey", alpha)
    return StoredImage(pixels[..., 2::-1], "rgb", alpha)
