"""The pixels of DICOM images, and what they measure."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes import jpeg_frames
from syncsam_lightning.volumes.dicom_file import need, refusing
from syncsam_lightning.volumes.dicom_header import number, numbers

PADDING = -np.inf
"""What pixels get that are not part of the picture (PixelPaddingValue): less than all others."""

_EXTRA = "'syncsam-lightning[dicom]'"
_PACKAGES = {
    **dict.fromkeys(jpeg_frames.SYNTAXES, _EXTRA),
    "1.2.840.10008.1.2.4.201": "pylibjpeg pylibjpeg-openjpeg",  # High-Throughput JPEG 2000
    "1.2.840.10008.1.2.4.202": "pylibjpeg pylibjpeg-openjpeg",
    "1.2.840.10008.1.2.4.203": "pylibjpeg pylibjpeg-openjpeg",
}
"""What to install for a transfer syntax (PS3.5 A.4) that nothing here decodes."""


def read_pixels(path: Path, dataset: Any) -> np.ndarray:
    """Decode all pixels of a file.

    Args:
        path: of the file, for messages.
        dataset: read from it, of one sample per pixel.

    Returns:
        ``(frames, H, W)`` stored values, as integers or floats.

    Raises:
        BrokenInputError: they are damaged or too few, or nothing that is installed decodes them;
            the message then says what to install.
    """
    stored = decoded(path, dataset)
    if stored.ndim == 2:
        stored = stored[None]
    if stored.ndim != 3:
        raise BrokenInputError(str(path), f"has pixels of shape {stored.shape}, expected two axes")
    return stored


def decoded(path: Path, dataset: Any) -> np.ndarray:
    """Decode all pixels of a file, in the shape in which it holds them; see :func:`read_pixels`."""
    with refusing(path, "its pixels cannot be decoded"), _untold():
        _choose_decoder(path, dataset)
        pixels: np.ndarray = dataset.pixel_array
    return pixels


@contextmanager
def _untold() -> Iterator[None]:
    """Keep the tracebacks of decoders that fail to ourselves: the error that follows says why."""
    log = logging.getLogger("pydicom.pixels.decoders.base")
    was_disabled, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = was_disabled


def _choose_decoder(path: Path, dataset: Any) -> None:
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return
    jpeg_frames.register()
    try:
        available = need("pydicom").pixels.get_decoder(syntax).available_plugins
    except NotImplementedError:
        available = ()
    if not available:
        package = _PACKAGES.get(syntax)
        remedy = f"pip install {package}" if package else "save it uncompressed (dcmdjpeg does)"
        raise BrokenInputError(
            str(path),
            f"its pixels are compressed as {syntax.name}, which nothing installed decodes: "
            f"{remedy}",
        )
    if jpeg_frames.LABEL in available:
        dataset.pixel_array_options(decoding_plugin=jpeg_frames.LABEL)


def measured(path: Path, stored: np.ndarray, scale: Any, dataset: Any) -> np.ndarray:
    """Return what stored values measure.

    Slope and intercept or a table are applied (PS3.3 C.11.1); MONOCHROME1, where small is bright,
    is turned around. Padding (PS3.3 C.7.5.1.1.2) is
    :data:`PADDING`, whatever its number is.

    Args:
        path: of the file, for messages.
        stored: ``(H, W)`` of one frame.
        scale: the header with slope and intercept of the frame.
        dataset: of the file.

    Returns:
        ``(H, W)`` float32, finite but for padding.

    Raises:
        BrokenInputError: values are not finite or all made alike (a slope of 0).
    """
    is_padding = _is_padding(path, stored, dataset)
    values = _scaled(path, stored, scale)
    if is_padding is not None:  # it may be too low for what is made of it
        values = np.where(is_padding, 0, values)
    values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise BrokenInputError(str(path), "holds values that are not finite")
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        values = -values
    if is_padding is not None:
        values[is_padding] = PADDING
    result: np.ndarray = values
    return result


def _scaled(path: Path, stored: np.ndarray, scale: Any) -> np.ndarray:
    if scale.get("ModalityLUTSequence"):
        with refusing(path, "its modality table cannot be applied"):
            looked_up: np.ndarray = need("pydicom").pixels.apply_modality_lut(stored, scale)
            return looked_up
    slope, intercept = (
        numbers(path, scale, name, 1) for name in ("RescaleSlope", "RescaleIntercept")
    )
    if slope is None and intercept is None:
        return stored
    # An empty slice of a PET may have it.
    if slope is not None and slope[0] == 0 and stored.min() < stored.max():
        raise BrokenInputError(
            str(path), "has RescaleSlope 0, by which all of its pixels would measure the same"
        )
    # One without the other is against the standard, and still says how values are shifted.
    scaled: np.ndarray = stored * (1.0 if slope is None else slope[0])
    return scaled if intercept is None else scaled + intercept[0]


def _is_padding(path: Path, stored: np.ndarray, dataset: Any) -> np.ndarray | None:
    if stored.dtype.kind == "f":
        return _is_float_padding(path, stored, dataset)
    if dataset.get("PixelPaddingValue") is None:
        return None
    value = number(path, dataset, "PixelPaddingValue", 0)
    limit = number(path, dataset, "PixelPaddingRangeLimit", value)
    # Its sign is often written wrongly (63536 for -2000): the bits are what counts.
    with refusing(path, "has a PixelPaddingValue that is none"):
        low, high = sorted(np.array([value, limit], np.int64).astype(stored.dtype).tolist())
    is_padding: np.ndarray = (stored >= low) & (stored <= high)
    return is_padding


def _is_float_padding(path: Path, stored: np.ndarray, dataset: Any) -> np.ndarray | None:
    name = "FloatPixelPadding" if stored.dtype.itemsize == 4 else "DoubleFloatPixelPadding"
    value = dataset.get(f"{name}Value")
    if value is None:
        return None
    # Not a number and infinity are what some write for nothing, so neither is refused.
    with refusing(path, f"has a {name}Value that is none"):
        limits = (float(value), float(dataset.get(f"{name}RangeLimit", value)))
    is_padding: np.ndarray = (stored >= min(limits)) & (stored <= max(limits))
    return is_padding | np.isnan(stored) if np.isnan(limits).any() else is_padding
