"""Reading image and mask files, with a reason for every file that can't be read."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from syncsam_lightning.errors import NOT_FOUND, BrokenInputError
from syncsam_lightning.records import Loadable

MAX_PIXELS = 1 << 28
"""Largest image that is decoded; a header that declares more is refused before any allocation."""

_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What is read as an image. Pillow knows dozens more, and runs Ghostscript for one of them."""

_LUMINANCE = np.array([0.299, 0.587, 0.114])
_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I", "F")

_PAGED = ("GIF", "PNG", "TIFF", "WEBP")  # not MPO: JPEG and the previews that phones add
_NEW_SUBFILE_TYPE, _REDUCED_OR_MASK = 254, 0b101  # TIFF 6.0, section 8

# What Pillow's decoders raise for damaged files.
_UNDECODABLE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    RuntimeError,
    OverflowError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def read_image(path: str | os.PathLike[str], data: bytes | None = None) -> np.ndarray:
    """Read an image file.

    Pixels count as they are stored: an orientation that EXIF asks viewers for is left alone, so
    that image and mask files fit each other whatever wrote them.

    Args:
        path: of the file; only its name, for messages, if ``data`` is given.
        data: its bytes, where it is no file of its own.

    Returns:
        ``(H, W, 3)`` RGB uint8, or ``(H, W, 1)`` for grey files. Deeper grey files (16 bit, float)
        are scaled to 0..255 by their own minimum and maximum.

    Raises:
        BrokenInputError: the file is missing, truncated, no image, too large, or holds several.
    """
    pixels, deep = _decode(path, data)
    if deep:
        pixels = stretched(pixels)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def stretched(pixels: np.ndarray) -> np.ndarray:
    """Return pixels of any number type as uint8, 0 for their minimum and 255 for their maximum."""
    low, high = float(pixels.min()), float(pixels.max())
    scaled = (pixels.astype(np.float64) - low) * (255.0 / max(high - low, 1e-12))
    return np.round(scaled).astype(np.uint8)


def read_mask(path: str | os.PathLike[str], data: bytes | None = None) -> np.ndarray:
    """Read a mask file of one object.

    Args:
        path: see :func:`read_image`.
        data: see :func:`read_image`.

    Returns:
        ``(H, W)`` bool. Files whose largest value is 1 are taken as 0/1; in all others a pixel
        above half of the largest possible value (127) is foreground, so that JPEG noise is not.

    Raises:
        BrokenInputError: the file is missing, truncated, no image, too large, or holds several.
    """
    labels = read_labels(path, data)
    return labels > (0 if labels.max(initial=0) <= 1 else 127)


def read_labels(path: str | os.PathLike[str], data: bytes | None = None) -> np.ndarray:
    """Read a label map: ``(H, W)`` integers, of colour files the first channel.

    Args:
        path: see :func:`read_image`.
        data: see :func:`read_image`.

    Raises:
        BrokenInputError: the file is missing, truncated, no image, too large, or holds several.
    """
    pixels, _ = _decode(path, data, palette=True)
    return pixels[..., 0] if pixels.ndim == 3 else pixels


def read_grey(path: str | os.PathLike[str], data: bytes | None = None) -> np.ndarray:
    """Read a mask file as it looks: for masks of which some grey value and above is foreground.

    Args:
        path: see :func:`read_image`.
        data: see :func:`read_image`.

    Returns:
        ``(H, W)`` uint8. Colours (also of a palette) become their luminance (ITU-R BT.601), as when
        OpenCV or Pillow read a file as grey; the two values of a bilevel file become 0 and 255.

    Raises:
        BrokenInputError: the file is missing, truncated, no image, too large or holds several,
            or it is deeper than 8 bits, for which the same threshold would mean something else.
    """
    pixels, deep = _decode(path, data)
    if deep:
        raise BrokenInputError(os.fspath(path), f"holds {pixels.dtype}: a grey mask has 8 bits")
    grey: np.ndarray = pixels
    if pixels.ndim == 3:
        grey = np.round(pixels @ _LUMINANCE).astype(np.uint8)
    return grey


def _decode(
    path: str | os.PathLike[str], data: bytes | None, *, palette: bool = False
) -> tuple[np.ndarray, bool]:
    name = os.fspath(path)
    if data is None and not Path(name).is_file():
        raise BrokenInputError(name, "file not found", kind=NOT_FOUND)
    try:
        with Image.open(name if data is None else io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise BrokenInputError(
                    name, f"declares {image.width}x{image.height} pixels, over the limit"
                )
            if (pages := _num_pages(image)) > 1:
                raise BrokenInputError(
                    name,
                    f"holds {pages} pages, and one image is expected: save the one you mean as a "
                    "file of its own, or a stack of slices as NIfTI",
                    kind="several pages",
                )
            deep = image.mode in _SIXTEEN_BIT
            if deep or image.mode == "L" or (palette and image.mode in ("P", "1")):
                pixels = np.asarray(image)
            elif image.mode in ("1", "LA"):
                pixels = np.asarray(image.convert("L"))
            else:
                pixels = np.asarray(image.convert("RGB"))
    except UnidentifiedImageError as error:
        raise BrokenInputError(name, "not an image file") from error
    except _UNDECODABLE as error:
        raise BrokenInputError(name, f"cannot be decoded: {error}") from error
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise BrokenInputError(name, "holds values that are not finite")
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8)
    return pixels, deep


def _num_pages(image: Image.Image) -> int:
    """Return how many images a file holds, without the thumbnails and masks that TIFFs may have."""
    count: int = getattr(image, "n_frames", 1) if image.format in _PAGED else 1
    if count == 1 or not isinstance(image, TiffImagePlugin.TiffImageFile):
        return count
    pages = 0
    for page in range(count):
        image.seek(page)
        pages += not image.tag_v2.get(_NEW_SUBFILE_TYPE, 0) & _REDUCED_OR_MASK
    image.seek(0)
    return pages


def resolve_image(image: Loadable, path: str) -> np.ndarray:
    """Return the ``(H, W, 1 or 3)`` uint8 pixels of a :data:`Loadable` image.

    Raises:
        BrokenInputError: it can't be loaded or has another shape or dtype.
    """
    pixels = read_image(image) if isinstance(image, str | os.PathLike) else _call(image, path)
    if pixels.dtype != np.uint8:
        raise BrokenInputError(path, f"image has dtype {pixels.dtype}, expected uint8")
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or 0 in pixels.shape:
        raise BrokenInputError(path, f"image has shape {pixels.shape}, expected (H, W, 1 or 3)")
    return pixels


def resolve_mask(mask: Loadable, path: str) -> np.ndarray:
    """Return the ``(H, W)`` bool pixels of a :data:`Loadable` mask.

    Raises:
        BrokenInputError: it can't be loaded or is not two-dimensional.
    """
    pixels = read_mask(mask) if isinstance(mask, str | os.PathLike) else _call(mask, path)
    if pixels.ndim != 2:
        raise BrokenInputError(path, f"mask has shape {pixels.shape}, expected (H, W)")
    foreground: np.ndarray = pixels != 0
    return foreground


def _call(loadable: Loadable, path: str) -> np.ndarray:
    if isinstance(loadable, np.ndarray):
        return loadable
    if not callable(loadable):
        raise BrokenInputError(path, f"{type(loadable).__name__} is neither pixels nor a path")
    try:
        pixels: np.ndarray = loadable()
        return pixels
    except (OSError, ValueError, KeyError, IndexError, EOFError) as error:
        raise BrokenInputError(path, f"cannot be decoded: {error}") from error
