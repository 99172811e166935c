"""TIFF files as the numbers that they store (TIFF 6.0 and BigTIFF)."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

from syncsam_lightning.data.decoders import deep_colours, pillow_pixels
from syncsam_lightning.data.stored_image import MAX_PIXELS, StoredImage, check_size, several_pages
from syncsam_lightning.errors import BrokenInputError

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_REDUCED_OR_MASK = 0b101  # NewSubfileType, section 8: a thumbnail or a transparency mask
_MAX_PAGES = 64
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR, _LAB = 0, 1, 2, 3, 5, 6, 8
_COLOURS = {
    _WHITE_IS_ZERO: 1,
    _BLACK_IS_ZERO: 1,
    _RGB: 3,
    _PALETTE: 1,
    _CMYK: 4,
    _YCBCR: 3,
    _LAB: 3,
}
"""Channels of each kind of colours, without alpha and what else follows."""

_UNSPECIFIED, _PREMULTIPLIED, _ALPHA = 0, 1, 2  # ExtraSamples, section 18
_NONE, _DEFLATE = 1, (8, 32946)
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_MAX_SAMPLES = 16
_PADDING = 1 << 26
_MOST_INFLATED = 8 * MAX_PIXELS
"""Bytes of deflated pixels that are inflated, which a file of a thousandth of that can declare."""


def is_tiff(header: bytes) -> bool:
    """Return whether a file that begins so is a TIFF."""
    return header[:4] in _MAGIC


def decode_tiff(file: BinaryIO, path: str) -> StoredImage:
    """Decode a TIFF of one image, turned as its orientation asks for.

    Pillow decodes what it keeps whole, of every compression. For all other numbers (float64,
    int64, planes of 16 bits …) there is tifffile, which without further packages decodes what is
    stored plain or by deflate.

    Args:
        file: open at its start.
        path: for messages.

    Raises:
        BrokenInputError: it holds several pages, channels that are no image, or something that is
            not read.
        OSError, ValueError, LookupError, RuntimeError, TypeError: it is damaged.
    """
    with tifffile.TiffFile(file, name=path) as tiff:
        number, page = _only_page(tiff, path)
        layout = _Layout.of(page, path)
        if layout.suits_pillow:
            try:
                return _by_pillow(file, number, layout)
            except UnidentifiedImageError:
                pass  # among others greys of 16 bits that begin with the high byte, 0 is white
        if layout.is_deep_rgb and layout.compression != _NONE and not layout.is_planar:
            with Image.open(_rewound(file), formats=("TIFF",)) as image:
                image.load()  # tells what is damaged, which OpenCV does not
            if number == 0 and (deep := deep_colours(file, min(layout.samples, 4))) is not None:
                return deep
        return _by_tifffile(tiff, page, layout, path)


def _only_page(tiff: tifffile.TiffFile, path: str) -> tuple[int, tifffile.TiffPage]:
    """Return the one page that is no thumbnail or mask of another, with its number."""
    if (count := len(tiff.pages)) > _MAX_PAGES:
        raise several_pages(path, count)
    whole = [
        (number, page)
        for number in range(count)
        if not (page := tiff.pages[number].aspage()).subfiletype & _REDUCED_OR_MASK
    ]
    if len(whole) > 1:
        raise several_pages(path, len(whole))
    return whole[0] if whole else (0, tiff.pages[0].aspage())


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the pixels of a page lie in the file; numbers are those of TIFF's tags."""

    width: int
    height: int
    samples: int
    bits: int
    number_type: int
    photometric: int
    compression: int
    is_planar: bool
    extra: tuple[int, ...]

    @classmethod
    def of(cls, page: tifffile.TiffPage, path: str) -> _Layout:
        """Look at a page.

        Raises:
            BrokenInputError: its channels are no image.
        """
        layout = cls(
            width=int(page.imagewidth),
            height=int(page.imagelength),
            samples=int(page.samplesperpixel),
            bits=int(page.bitspersample),
            number_type=int(page.sampleformat),
            photometric=int(page.photometric),
            compression=int(page.compression),
            is_planar=int(page.planarconfig) == 2,
            extra=tuple(int(kind) for kind in page.extrasamples),
        )
        check_size(layout.width, layout.height, path)
        if page.imagedepth != 1:
            raise BrokenInputError(path, "holds a volume; save its slices, or NIfTI")
        expected = _COLOURS.get(layout.photometric)
        if expected is None:
            kind = f"PhotometricInterpretation {layout.photometric}"
            raise BrokenInputError(path, f"its kind of colours is not read ({kind})")
        # What follows the three colours of a picture is alpha and what programs keep beside it. A
        # second channel of a grey image is another measurement, and none of them is the image.
        too_many = layout.samples > (_MAX_SAMPLES if expected > 1 else 2)
        is_alpha = layout.alpha is not None or layout.samples == 1
        if layout.samples < expected or too_many or (expected == 1 and not is_alpha):
            raise BrokenInputError(
                path,
                f"has {layout.samples} channels, and an image is grey or has three colours (and "
                "alpha): save what you mean as a file of its own",
                kind="channels",
            )
        return layout

    @property
    def alpha(self) -> int | None:
        """Number of the channel that is alpha."""
        colours = _COLOURS[self.photometric]
        if self.samples <= colours:
            return None
        kinds = (*self.extra, *[_UNSPECIFIED] * (self.samples - colours))
        if colours > 1 and self.samples == colours + 1:
            return colours  # whatever it is called: programs forget to
        found = [n for n, kind in enumerate(kinds) if kind in (_PREMULTIPLIED, _ALPHA)]
        return colours + found[0] if found else None

    @property
    def is_deep_rgb(self) -> bool:
        """Whether it has colours of 16 bits."""
        return (
            self.photometric == _RGB
            and (self.bits, self.number_type) == (16, _UNSIGNED)
            and self.samples in (3, 4)
        )

    @property
    def suits_pillow(self) -> bool:
        """Whether Pillow keeps all of the numbers."""
        if self.photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _PALETTE):
            return (self.bits, self.number_type) == (8, _UNSIGNED) and not (
                self.is_planar and (self.compression == _NONE or self.samples > 3)
            )
        if self.samples > 1:
            return (self.bits, self.number_type) == (8, _UNSIGNED) and not self.is_planar
        known = {_UNSIGNED: (1, 2, 4, 8, 12, 16, 32), _SIGNED: (8, 16, 32), _FLOAT: (32,)}
        return self.bits in known.get(self.number_type, ())


def _rewound(file: BinaryIO) -> BinaryIO:
    file.seek(0)
    return file


def _by_pillow(file: BinaryIO, number: int, layout: _Layout) -> StoredImage:
    with Image.open(_rewound(file), formats=("TIFF",)) as image:
        image.seek(number)
        image.load()
        stored = pillow_pixels(image, layout.bits)
    pixels, white_is_zero = stored.pixels, layout.photometric == _WHITE_IS_ZERO
    if white_is_zero and pixels.dtype == np.uint8:
        pixels = np.uint8(2 ** min(layout.bits, 8) - 1) - pixels  # Pillow has inverted these only
    if stored.model == "grey" and (layout.bits, layout.number_type) in _RENAMED:
        pixels = pixels.view(_RENAMED[layout.bits, layout.number_type])
    return StoredImage(
        pixels, stored.model, stored.alpha, stored.palette, stored.bits, white_is_zero
    )


_RENAMED = {(8, _SIGNED): np.int8, (32, _UNSIGNED): np.uint32}
"""Numbers that Pillow has no type for and keeps bit by bit in another."""


def _by_tifffile(
    tiff: tifffile.TiffFile, page: tifffile.TiffPage, layout: _Layout, path: str
) -> StoredImage:
    dtype = page.dtype
    is_rgb = layout.photometric == _RGB
    is_known = is_rgb or layout.photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)
    if (
        dtype is None
        or dtype.kind not in "iuf"
        or not is_known
        or layout.compression not in (_NONE, *_DEFLATE)
    ):
        packing = getattr(page.compression, "name", page.compression)
        raise BrokenInputError(
            path,
            f"TIFF with {layout.bits} bits a value and compression {packing} is not read: save it "
            "without compression, or as PNG",
        )
    _check_segments(tiff, page, layout, dtype.itemsize, path)
    planes, _, rows, columns, samples = (whole := page.asarray(squeeze=False, maxworkers=1)).shape
    pixels = whole[:, 0].transpose(1, 2, 0, 3).reshape(rows, columns, planes * samples)
    pixels = pixels.astype(dtype.newbyteorder("="), copy=False)
    alpha = None if layout.alpha is None else pixels[..., layout.alpha]
    orientation = page.tags.valueof(274, default=1)
    return StoredImage(
        pixels[..., : 3 if is_rgb else 1],
        "rgb" if is_rgb else "grey",
        alpha,
        white_is_zero=layout.photometric == _WHITE_IS_ZERO,
    ).upright(orientation)


def _check_segments(
    tiff: tifffile.TiffFile, page: tifffile.TiffPage, layout: _Layout, itemsize: int, path: str
) -> None:
    """Refuse a page whose strips or tiles don't hold, or hold more than, what it declares."""
    declared = layout.width * layout.height * layout.samples * itemsize
    segment = math.prod(page.chunks) * itemsize
    size = tiff.filehandle.size
    places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    stored = sum(length for _, length in places)
    is_cut = any(length <= 0 or offset + length > size for offset, length in places)
    plain_is_short = layout.compression == _NONE and stored < declared
    is_none = not places or not 0 < segment <= declared + _PADDING
    if is_cut or stored > size or plain_is_short or is_none:
        raise BrokenInputError(
            path, f"cannot be decoded: it does not hold the {declared} bytes of its pixels"
        )
    if layout.compression == _NONE:
        return
    if declared > _MOST_INFLATED:
        raise BrokenInputError(
            path,
            f"its pixels inflate to {declared} bytes, over the limit of {_MOST_INFLATED}: save it "
            "without compression",
        )
    held = 0
    for offset, length in places:
        tiff.filehandle.seek(offset)
        unpacker = zlib.decompressobj()
        held += len(unpacker.decompress(tiff.filehandle.read(length), segment))
        if unpacker.unconsumed_tail:
            raise BrokenInputError(path, "cannot be decoded: it inflates to more than it declares")
    if held < declared:  # tifffile would leave what is missing black
        raise BrokenInputError(
            path, f"cannot be decoded: of the {declared} bytes of its pixels it holds {held}"
        )
