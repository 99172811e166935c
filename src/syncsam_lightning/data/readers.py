"""Image and mask files as images and masks, with a reason for every file that can't be read."""

from __future__ import annotations

import os

import numpy as np

from syncsam_lightning.data.cropping import tight
from syncsam_lightning.data.image_decoding import decode
from syncsam_lightning.data.label_maps import whole_labels
from syncsam_lightning.data.stored_image import MAX_PIXELS, StoredImage
from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.records import CroppedMask, Loadable

__all__ = [
    "IMAGE_SUFFIXES",
    "MASK_SUFFIXES",
    "MAX_PIXELS",
    "read_grey",
    "read_image",
    "read_labels",
    "read_mask",
    "read_values",
    "resolve_crop",
    "resolve_image",
    "resolve_mask",
    "stretched",
]

MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
"""Endings of files that keep the values of a mask."""

IMAGE_SUFFIXES = (*MASK_SUFFIXES, ".jpg", ".jpeg", ".jp2")
"""Endings of files that are taken for images in folders and releases."""

_FOREGROUND_FROM = 128
_LUMINANCE = np.array([0.299, 0.587, 0.114])
_COLOURED = 32
"""How far the channels of a grey pixel may lie apart: JPEG stores colours less exactly."""

_ROWS = 256
"""Rows that are stretched at a time, so that an image is never wholly there in float64."""


def read_image(path: str | os.PathLike[str], data: bytes | None = None) -> np.ndarray:
    """Read an image file as viewers show it.

    The orientation that EXIF or TIFF asks for is applied, as annotation tools, browsers and
    ``cv2.imread`` do. Alpha is dropped, and grey of which 0 is white is inverted.

    Args:
        path: of the file; only its name, for messages, if ``data`` is given.
        data: its bytes, where it is no file of its own.

    Returns:
        ``(H, W, 3)`` RGB uint8, or ``(H, W, 1)`` for grey files. What is deeper than 8 bits (16
        bit, float; grey or colours) is scaled to 0..255 by its own minimum and maximum.

    Raises:
        BrokenInputError: the file is missing, truncated, no image, too large, or holds several.
    """
    return _shown(decode(path, data), os.fspath(path))


def stretched(pixels: np.ndarray) -> np.ndarray:
    """Return pixels of any number type as uint8, 0 for their minimum and 255 for their maximum."""
    low, high = float(pixels.min()), float(pixels.max())
    scale = 255.0 / max(high - low, 1e-12)
    grey = np.empty(pixels.shape, np.uint8)
    for start in range(0, len(pixels), _ROWS):
        part = slice(start, start + _ROWS)
        grey[part] = np.round((pixels[part].astype(np.float64) - low) * scale)
    return grey


def read_values(path: str | os.PathLike[str], data: bytes | None = None) -> np.ndarray:
    """Read what a mask file holds: the one place that knows where a file keeps a mask.

    Values count as stored, not as shown: indices of a palette, 0..15 of a file of 4 bits, and those
    of a TIFF of which 0 is white. Colours are no mask, but three equal channels are grey. Where an
    alpha channel has a shape and all that is visible has one colour, the mask is in alpha.

    Args:
        path: see :func:`read_image`.
        data: see :func:`read_image`.

    Returns:
        ``(H, W)`` numbers of any type.

    Raises:
        BrokenInputError: see :func:`read_image`; or it has colours, a palette that shows the
            background as white, or an alpha channel that says something else than its colours.
    """
    return _mask_values(decode(path, data), os.fspath(path))


def read_labels(path: str | os.PathLike[str], data: bytes | None = None) -> np.ndarray:
    """Read a label map: ``(H, W)`` integers.

    Args:
        path: see :func:`read_image`.
        data: see :func:`read_image`.

    Raises:
        BrokenInputError: see :func:`read_values`; or a value is no whole number.
    """
    return whole_labels(read_values(path, data), os.fspath(path))


def read_mask(path: str | os.PathLike[str], data: bytes | None = None) -> np.ndarray:
    """Read a mask file of one object.

    Args:
        path: see :func:`read_image`.
        data: see :func:`read_image`.

    Returns:
        ``(H, W)`` bool. Files whose largest value is 1 are taken as 0/1; in all others a pixel
        above half of the largest possible value (127) is foreground, so that JPEG noise is not.

    Raises:
        BrokenInputError: see :func:`read_labels`; or no value is above 127, but some are above 1.
    """
    labels = read_labels(path, data)
    top = int(labels.max(initial=0))
    if 1 < top < _FOREGROUND_FROM:
        raise BrokenInputError(
            os.fspath(path),
            f"its largest value is {top}, and a mask of one object holds 0 and 1, or 0 and 255: "
            "save it so, or read it as a label map",
            "dim mask",
        )
    foreground: np.ndarray = labels >= (1 if top <= 1 else _FOREGROUND_FROM)
    return foreground


def read_grey(path: str | os.PathLike[str], data: bytes | None = None) -> np.ndarray:
    """Read a mask file of which some grey value and above is foreground.

    Args:
        path: see :func:`read_image`.
        data: see :func:`read_image`.

    Returns:
        ``(H, W)`` uint8. Values are those of :func:`read_values`, but for palettes, which count
        as they look; those of less than 8 bits are spread over 0..255. Channels that differ a
        little, as in JPEG, become their luminance (ITU-R BT.601).

    Raises:
        BrokenInputError: see :func:`read_values`; or the file is deeper than 8 bits, for which the
            same threshold would mean something else.
    """
    path = os.fspath(path)
    stored = decode(path, data)
    if stored.pixels.dtype != np.uint8:
        raise BrokenInputError(path, f"holds {stored.pixels.dtype}: a grey mask has 8 bits")
    if stored.palette is not None:
        stored = StoredImage(_shown(stored, path), "rgb", stored.alpha)
    grey = _mask_values(stored, path, coloured=_COLOURED)
    return grey * np.uint8(255 // (2**stored.bits - 1))


def _shown(stored: StoredImage, path: str) -> np.ndarray:
    """Return ``(H, W, 1 or 3)`` uint8, as viewers show it."""
    pixels = stored.pixels
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise BrokenInputError(path, "holds values that are not finite")
    if stored.palette is not None:
        shown: np.ndarray = stored.palette[pixels[..., 0]]
        return shown
    if pixels.dtype != np.uint8:
        pixels = stretched(pixels)
    elif stored.bits < 8:
        pixels = pixels * np.uint8(255 // (2**stored.bits - 1))
    return 255 - pixels if stored.white_is_zero else pixels


def _mask_values(stored: StoredImage, path: str, coloured: int = 0) -> np.ndarray:
    """Return the ``(H, W)`` values of a mask; channels may lie ``coloured`` apart."""
    if stored.model == "cmyk":
        raise BrokenInputError(path, "is a CMYK image: a mask is grey or has a palette", "colours")
    pixels = stored.pixels
    if stored.alpha is not None and _is_in_alpha(pixels, stored.alpha, path):
        return stored.alpha
    if stored.palette is not None:
        _check_palette(stored.palette, pixels, path)
    if pixels.shape[2] == 1:
        return pixels[..., 0]
    lowest: np.ndarray = pixels.min(2)
    highest = pixels.max(2)
    if (highest - lowest).max(initial=0) > coloured:
        raise BrokenInputError(
            path, "is a colour image: a mask is grey or has a palette", "colours"
        )
    if not coloured:
        return lowest
    luminance: np.ndarray = np.round(pixels @ _LUMINANCE).astype(np.uint8)
    return luminance


def _is_in_alpha(pixels: np.ndarray, alpha: np.ndarray, path: str) -> bool:
    """Whether a mask is in the alpha channel, as that of a drawing on an empty layer is."""
    seen, hidden = pixels[alpha > 0], pixels[alpha == 0]
    if not len(seen) or not alpha.min() < alpha.max():
        return False
    colour = seen[0]
    if (seen == colour).all():
        is_grey_too = (colour == colour[0]).all() and colour[0] != 0 and not hidden.any()
        return not is_grey_too or len(np.unique(alpha)) > 2  # the value may be that of a class
    if hidden.any():
        raise BrokenInputError(
            path,
            "its alpha channel and its colours show different masks: save the one that you mean "
            "as grey",
            "alpha channel",
        )
    return False


def _check_palette(palette: np.ndarray, pixels: np.ndarray, path: str) -> None:
    """Refuse a picture whose palette shows another value than 0 as the black background.

    Programs that reduce colours put them in any order: of a red object on black, Pillow makes 0
    red and 1 black.
    """
    if not palette[0].any():
        return
    used = np.unique(pixels)
    black = used[(palette[used] == 0).all(axis=1)]
    if len(black):
        colour = "white" if (palette[0] == 255).all() else f"RGB {palette[0].tolist()}"
        raise BrokenInputError(
            path,
            f"its palette shows the value 0, which is the background of a mask, as {colour}, and "
            f"{black[0]} as black: save it as grey, with 0 for the background",
            "palette",
        )


def resolve_image(image: Loadable, path: str) -> np.ndarray:
    """Return the ``(H, W, 1 or 3)`` uint8 pixels of a :data:`Loadable` image.

    Raises:
        BrokenInputError: it can't be loaded or has another shape or dtype.
    """
    pixels = read_image(image) if isinstance(image, str | os.PathLike) else _call(image, path)
    if isinstance(pixels, CroppedMask):
        raise BrokenInputError(path, "is a mask, and an image was expected")
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
    if isinstance(pixels, CroppedMask):
        return pixels.whole()
    if pixels.ndim != 2:
        raise BrokenInputError(path, f"mask has shape {pixels.shape}, expected (H, W)")
    foreground: np.ndarray = pixels != 0
    return foreground


def resolve_crop(mask: Loadable, path: str) -> CroppedMask:
    """Return the tight box of a :data:`Loadable` mask.

    Raises:
        BrokenInputError: see :func:`resolve_mask`.
    """
    if callable(mask):
        found = _call(mask, path)
        return tight(found if isinstance(found, CroppedMask) else resolve_mask(found, path))
    return tight(resolve_mask(mask, path))


def _call(loadable: Loadable, path: str) -> np.ndarray | CroppedMask:
    if isinstance(loadable, np.ndarray):
        return loadable
    if not callable(loadable):
        raise BrokenInputError(path, f"{type(loadable).__name__} is neither pixels nor a path")
    try:
        return loadable()
    except (OSError, ValueError, KeyError, IndexError, EOFError) as error:
        raise BrokenInputError(path, f"cannot be decoded: {error}") from error
