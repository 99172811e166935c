"""Image files as the numbers that they store, with a reason for every file that can't be read."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import cv2
from PIL import Image, UnidentifiedImageError

from syncsam_lightning.data.decoders import deep_colours, pillow_pixels
from syncsam_lightning.data.stored_image import StoredImage, check_size, several_pages
from syncsam_lightning.data.tiff import decode_tiff, is_tiff
from syncsam_lightning.errors import NOT_FOUND, BrokenInputError

_FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "WEBP")
"""What is read beside TIFF. Pillow knows dozens more, and runs Ghostscript for one of them."""

_PAGED = ("GIF", "PNG", "WEBP")  # not MPO: JPEG and the previews that phones add

_HEADER = 26
_ORIENTATION = 0x0112

# What decoders raise for damaged files.
_UNDECODABLE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    RuntimeError,
    ArithmeticError,
    EOFError,
    struct.error,
    zlib.error,
    cv2.error,
    Image.DecompressionBombError,
)


def decode(path: str | os.PathLike[str], data: bytes | None = None) -> StoredImage:
    """Decode an image file, turned as its orientation (EXIF or TIFF) asks viewers to.

    Args:
        path: of the file; only its name, for messages, if ``data`` is given.
        data: its bytes, where it is no file of its own.

    Raises:
        BrokenInputError: the file is missing, truncated, no image, too large, or holds several.
    """
    name = os.fspath(path)
    if data is None and not Path(name).is_file():
        raise BrokenInputError(name, "file not found", kind=NOT_FOUND)
    try:
        with Path(name).open("rb") if data is None else io.BytesIO(data) as file:
            header = file.read(_HEADER)
            file.seek(0)
            return decode_tiff(file, name) if is_tiff(header) else _decode(file, name, header)
    except UnidentifiedImageError as error:
        raise BrokenInputError(name, "not an image file") from error
    except _UNDECODABLE as error:
        raise BrokenInputError(name, f"cannot be decoded: {error}") from error


def _decode(file: BinaryIO, name: str, header: bytes) -> StoredImage:
    with Image.open(file, formats=_FORMATS) as image:
        check_size(image.width, image.height, name)
        pages = getattr(image, "n_frames", 1) if image.format in _PAGED else 1
        if pages > 1:
            raise several_pages(name, pages)
        image.load()
        bits, channels = 8, 0
        if image.format == "PNG":
            bits, colour_type = header[24], header[25]  # PNG, section 11.2.1
            channels = {2: 3, 4: 2, 6: 4}.get(colour_type, 0) if bits == 16 else 0
        elif image.format == "JPEG2000" and image.mode in ("RGB", "RGBA"):
            channels = len(image.mode)
        stored = pillow_pixels(image, bits)
        if channels and (deep := deep_colours(file, channels)) is not None:
            stored = deep
        return stored.upright(_orientation(image))


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except _UNDECODABLE:
        return 1  # damaged notes of a camera are no reason to refuse its picture
    return found if isinstance(found, int) else 1
