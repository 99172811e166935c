"""DICOM images in colour, such as ultrasound and endoscopy, as RGB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes import jpeg_frames
from syncsam_lightning.volumes.dicom_file import need, refusing
from syncsam_lightning.volumes.dicom_header import number
from syncsam_lightning.volumes.dicom_pixels import decoded, read_pixels

PALETTE = "PALETTE COLOR"
_GREY_WITHIN = 1 / 64
"""How far red, green and blue of a grey may lie apart, as a share of the palette's range."""

_KINDS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


def check_colours(path: Path, header: Any) -> None:
    """Refuse colours of a kind that isn't read.

    Args:
        path: of the file, for messages.
        header: with SamplesPerPixel, PhotometricInterpretation and BitsAllocated.

    Raises:
        BrokenInputError: they have not three samples of 8 bits, or a meaning that is not known.
    """
    samples = number(path, header, "SamplesPerPixel", 1)
    if samples == 1:
        return
    kind, bits = header.get("PhotometricInterpretation"), number(path, header, "BitsAllocated", 8)
    if samples != 3 or kind not in _KINDS:
        known = ", ".join(_KINDS)
        raise BrokenInputError(
            str(path),
            f"is a colour image of {samples} samples ({kind}), expected 3 of {known}: save it as "
            "PNG to segment it",
        )
    if bits != 8:
        raise BrokenInputError(
            str(path),
            f"is a colour image of {bits} bits, and colours are read of 8 bits: save it as PNG of "
            "8 bits to segment it",
        )


def has_colours(path: Path, dataset: Any) -> bool:
    """Whether an image has colours: three samples, or a palette that shows more than grey.

    Raises:
        BrokenInputError: its palette can't be applied.
    """
    if dataset.get("PhotometricInterpretation") != PALETTE:
        return number(path, dataset, "SamplesPerPixel", 1) == 3
    colours = palette_colours(path, read_pixels(path, dataset), dataset).astype(np.float32)
    apart = float(np.ptp(colours, axis=-1).max())
    return apart > _GREY_WITHIN * max(1.0, float(colours.max()))


def palette_colours(path: Path, stored: np.ndarray, dataset: Any) -> np.ndarray:
    """Return the ``(..., 3)`` uint8 or uint16 colours that a palette shows.

    Raises:
        BrokenInputError: it can't be applied.
    """
    with refusing(path, "its palette cannot be applied"):
        colours: np.ndarray = need("pydicom").pixels.apply_color_lut(stored, dataset)
    return colours[..., :3]


def read_colours(path: Path, dataset: Any) -> np.ndarray:
    """Decode all pixels of a colour image.

    Args:
        path: of the file, for messages.
        dataset: read from it.

    Returns:
        ``(frames, H, W, 3)`` uint8 RGB. Of the 16 bits of a palette the upper 8.

    Raises:
        BrokenInputError: see :func:`~syncsam_lightning.volumes.dicom_pixels.read_pixels`.
    """
    if dataset.get("PhotometricInterpretation") == PALETTE:
        colours = palette_colours(path, read_pixels(path, dataset), dataset)
        is_deep = colours.dtype.itemsize > 1
        return (colours >> 8 if is_deep else colours).astype(np.uint8)
    with refusing(path, "its pixels cannot be decoded"):
        syntax = dataset.file_meta.TransferSyntaxUID
    if syntax in jpeg_frames.SYNTAXES:
        raise BrokenInputError(
            str(path), f"has colours compressed as {syntax.name}: save it uncompressed (dcmdjpeg)"
        )
    pixels = decoded(path, dataset)
    if pixels.ndim == 3:
        pixels = pixels[None]
    if pixels.ndim != 4 or pixels.shape[3] != 3 or pixels.dtype != np.uint8:
        raise BrokenInputError(
            str(path), f"has pixels of shape {pixels.shape}, expected three samples of 8 bits"
        )
    return pixels
