"""JPEG Lossless, 12-bit JPEG and JPEG-LS, as pydicom lets further packages decode them.

pydicom knows decoders of the first two under other licences, or that can't live in one process
with other readers of DICOM; libjpeg-turbo, which imagecodecs brings, decodes both. The decoder of
JPEG-LS that pydicom knows makes room for whatever an image declares: here it is looked at first.
"""

from __future__ import annotations

import importlib.util
import struct
from functools import cache
from typing import Any

from syncsam_lightning.volumes.dicom_file import need

LABEL = "imagecodecs"
"""What pydicom calls this way of decoding."""

_JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
SYNTAXES = (
    "1.2.840.10008.1.2.4.51",  # JPEG Extended: 8 or 12 bits
    "1.2.840.10008.1.2.4.57",  # JPEG Lossless
    "1.2.840.10008.1.2.4.70",  # JPEG Lossless, first-order prediction
    *_JPEG_LS,
)
"""Transfer syntaxes (PS3.5 A.4.1 to A.4.3) that are decoded here."""

DECODER_DEPENDENCIES = dict.fromkeys(SYNTAXES, (LABEL,))
_FRAME_HEADERS = {0xC0, 0xC1, 0xC3, 0xF7}  # baseline, extended, lossless (T.81 B.1), JPEG-LS
_LONE_MARKERS = {0x01, *range(0xD0, 0xD9)}  # without a length


def is_available(_syntax: str) -> bool:
    """Whether frames can be decoded: pydicom asks every decoder."""
    return importlib.util.find_spec(LABEL) is not None


@cache
def register() -> None:
    """Tell pydicom of this way of decoding."""
    for syntax in SYNTAXES:
        need("pydicom").pixels.get_decoder(syntax).add_plugin(LABEL, (__name__, "decode_frame"))


def decode_frame(data: bytes, runner: Any) -> bytes:
    """Decode one frame.

    Args:
        data: the JPEG image.
        runner: pydicom's, which knows what the header says and wants to know the bits of a pixel.

    Returns:
        its pixels, row by row.

    Raises:
        ValueError: the image is damaged, or of another size than the header says: its own size is
            looked at before room is made for it.
    """
    import imagecodecs

    expected = (runner.rows, runner.columns, runner.samples_per_pixel)
    if (declared := _declared(data)) != expected:
        raise ValueError(
            f"a JPEG image of {declared} rows, columns and samples, expected {expected}"
        )
    is_jpeg_ls = runner.transfer_syntax in _JPEG_LS
    decode = imagecodecs.jpegls_decode if is_jpeg_ls else imagecodecs.jpeg8_decode
    try:
        pixels = decode(data)
    except (imagecodecs.Jpeg8Error, imagecodecs.JpeglsError) as error:
        raise ValueError(f"damaged JPEG image: {error}") from error
    runner.set_option("bits_allocated", 8 * pixels.dtype.itemsize)
    result: bytes = pixels.tobytes()
    return result


def _declared(data: bytes) -> tuple[int, int, int]:
    """Return the rows, columns and samples that a JPEG image declares (T.81 B.2.2)."""
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAME_HEADERS:
            rows, columns, samples = struct.unpack(">HHB", data[at + 5 : at + 10])
            return rows, columns, samples
        if marker == 0xFF or marker in _LONE_MARKERS:
            at += 1 if marker == 0xFF else 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise ValueError("no JPEG image that is decoded here")
