from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from syncsam_lightning.data.readers import read_image, read_labels, read_mask, stretched
from syncsam_lightning.errors import BrokenInputError

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 4096, (6, 7, 3), dtype=np.uint16)
LABELS = RNG.integers(0, 3, (6, 7), dtype=np.uint8)


def tiff(pixels: np.ndarray, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def with_tag(data: bytes, code: int, value: int) -> bytes:
    """Return a little-endian TIFF with one more short tag (section 2 of TIFF 6.0)."""
    (place,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, place)
    entries = [data[place + 2 + 12 * n : place + 14 + 12 * n] for n in range(count)]
    entries = [entry for entry in entries if struct.unpack_from("<H", entry)[0] != code]
    entries.append(struct.pack("<HHII", code, 3, 1, value))
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry)[0])
    data += b"\0" * (len(data) % 2)
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + directory


def lzw(colours: np.ndarray) -> bytes:
    bgr = colours[..., [2, 1, 0, *range(3, colours.shape[2])]]
    return cv2.imencode(".tiff", bgr, [cv2.IMWRITE_TIFF_COMPRESSION, 5])[1].tobytes()


ALPHA = np.full((6, 7, 1), 65535, np.uint16)
DEEP_COLOURS: dict[str, bytes] = {
    "plain": tiff(COLOURS, photometric="rgb"),
    "high byte first": tiff(COLOURS, photometric="rgb", byteorder=">"),
    "planes": tiff(np.moveaxis(COLOURS, 2, 0), photometric="rgb", planarconfig="separate"),
    "tiles": tiff(COLOURS, photometric="rgb", tile=(16, 16)),
    "deflate": tiff(COLOURS, photometric="rgb", compression="zlib"),
    "deflate, planes": tiff(
        np.moveaxis(COLOURS, 2, 0), photometric="rgb", planarconfig="separate", compression="zlib"
    ),
    "LZW": lzw(COLOURS),
    "alpha": tiff(np.dstack([COLOURS, ALPHA]), photometric="rgb", extrasamples=["unassalpha"]),
    "alpha without its name": tiff(np.dstack([COLOURS, ALPHA]), photometric="rgb"),
    "alpha, LZW": lzw(np.dstack([COLOURS, ALPHA])),
    "BigTIFF": tiff(COLOURS, photometric="rgb", bigtiff=True),
}


@pytest.mark.parametrize("kind", DEEP_COLOURS)
def test_colours_of_16_bits_are_stretched_like_grey(kind: str):
    np.testing.assert_array_equal(read_image("a.tif", DEEP_COLOURS[kind]), stretched(COLOURS))


@pytest.mark.parametrize(
    "dtype", [np.int8, np.uint16, np.int16, np.uint32, np.int32, np.int64, np.uint64]
)
@pytest.mark.parametrize("order", ["<", ">"])
def test_images_of_every_integer_type_are_stretched(dtype: type, order: str):
    grey = np.linspace(np.iinfo(dtype).min, np.iinfo(dtype).max // 2, 42).astype(dtype)
    grey = grey.reshape(6, 7)
    data = tiff(grey, byteorder=order)
    np.testing.assert_array_equal(read_image("a.tif", data)[..., 0], stretched(grey))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("channels", [1, 3])
def test_floats_are_stretched(dtype: type, compression: str | None, channels: int):
    pixels = RNG.normal(size=(6, 7, channels)).astype(dtype).squeeze()
    photometric = "rgb" if channels == 3 else "minisblack"
    data = tiff(pixels, photometric=photometric, compression=compression)
    expected = stretched(pixels).reshape(6, 7, channels)
    np.testing.assert_array_equal(read_image("a.tif", data), expected)


def test_floats_that_are_not_finite_are_refused():
    with pytest.raises(BrokenInputError, match="not finite"):
        read_image("a.tif", tiff(np.array([[0.0, np.nan]])))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("order", ["<", ">"])
def test_of_what_is_shown_inverted_images_are_and_labels_are_not(dtype: type, order: str):
    ramp = np.arange(256).reshape(16, 16).astype(dtype)
    data = tiff(ramp, photometric="miniswhite", byteorder=order)
    np.testing.assert_array_equal(read_image("a.tif", data)[..., 0], 255 - ramp.astype(np.uint8))
    np.testing.assert_array_equal(read_labels("a.tif", data), ramp)


def test_a_mask_of_bools_is_that_mask():
    mask = LABELS > 1
    np.testing.assert_array_equal(read_mask("a.tif", tiff(mask)), mask)


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_lzw", "packbits", "raw"])
@pytest.mark.parametrize("photometric", [0, 1])
def test_bilevel_files_count_as_stored_under_every_compression(compression: str, photometric: int):
    mask = np.zeros((16, 32), bool)
    mask[4:9, 5:20] = True
    file = io.BytesIO()
    # Pillow writes white as 1, and G3 and G4 don't depend on what the tag says.
    Image.fromarray(mask).save(file, "TIFF", compression=compression)
    data = with_tag(file.getvalue(), 262, photometric)
    with tifffile.TiffFile(io.BytesIO(data)) as written:
        assert int(written.pages[0].photometric) == photometric
    np.testing.assert_array_equal(read_mask("a.tif", data), mask)


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate", None])
@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_labels_count_as_stored_under_every_compression(
    compression: str | None, photometric: int, dtype: type
):
    file = io.BytesIO()
    Image.fromarray(LABELS.astype(dtype)).save(file, "TIFF", compression=compression)
    data = with_tag(file.getvalue(), 262, photometric)
    np.testing.assert_array_equal(read_labels("a.tif", data), LABELS)


@pytest.mark.parametrize("dtype", [np.int8, np.uint32, np.int64, np.float64])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_labels_of_every_number_type_keep_their_values(dtype: type, compression: str | None):
    top = 127 if dtype == np.int8 else 3 << 30
    labels = (LABELS * (top // 3)).astype(dtype) if dtype == np.int8 else LABELS * dtype(top // 3)
    data = tiff(labels, compression=compression)
    np.testing.assert_array_equal(read_labels("a.tif", data), labels)


@pytest.mark.parametrize("channels", [2, 5])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_channels_that_are_no_image_are_counted(channels: int, dtype: type):
    pixels = np.zeros((6, 7, channels), dtype)
    data = tiff(pixels, photometric="minisblack", planarconfig="contig")
    with pytest.raises(BrokenInputError, match=f"has {channels} channels, .* save what you mean"):
        read_image("a.tif", data)


def test_what_can_not_be_decoded_says_how_to_save_it():
    data = with_tag(tiff(np.eye(8)), 259, 5)  # float64 by LZW
    with pytest.raises(BrokenInputError, match=r"64 bits .*LZW.* save it without compression"):
        read_image("a.tif", data)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["plain", "LZW", "8 bits"])
def test_the_orientation_is_applied_whoever_decodes(kind: str, orientation: int):
    eight = stretched(COLOURS)
    stored = tiff(eight, photometric="rgb") if kind == "8 bits" else DEEP_COLOURS[kind]
    png = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(eight).save(png, "PNG", exif=exif)
    np.testing.assert_array_equal(
        read_image("a.tif", with_tag(stored, 274, orientation)),
        read_image("a.png", png.getvalue()),
    )


def test_a_thumbnail_that_comes_first_is_passed_over(tmp_path: Path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(np.zeros((2, 2), np.uint8), subfiletype=1)
        file.write(LABELS)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), LABELS)


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_truncated_file_is_told(keep: float, dtype: type, compression: str | None):
    data = tiff(RNG.normal(size=(64, 64)).astype(dtype), compression=compression)
    with pytest.raises(BrokenInputError):
        read_image("a.tif", data[: int(len(data) * keep)])


def inflating(rows: int) -> bytes:
    data = tiff(np.zeros((rows, 8)), compression="zlib", rowsperstrip=rows)
    return with_tag(with_tag(data, 257, 8), 278, 8)  # says that it has eight rows


REFUSED: dict[str, Callable[[], bytes]] = {
    "more pixels than are decoded": lambda: with_tag(tiff(np.eye(8)), 257, 65535 << 9),
    "more pixels than it holds": lambda: with_tag(tiff(np.eye(8)), 257, 60_000),
    "a strip that inflates to more": lambda: inflating(1 << 15),
    "fewer deflated strips than it says": lambda: with_tag(
        tiff(np.zeros((8, 8)), compression="zlib", rowsperstrip=8), 257, 800
    ),
    "deflated pixels that take gigabytes": lambda: with_tag(
        tiff(np.zeros((8, 8, 3)), compression="zlib", rowsperstrip=8, photometric="rgb"),
        257,
        20_000_000,
    ),
    "a stack": lambda: tiff(np.zeros((3, 4, 5)), photometric="minisblack"),
    "tiles without a length": lambda: with_tag(tiff(np.eye(8), tile=(16, 16)), 323, 0),
    "no strips": lambda: tiff(np.eye(8)).replace(struct.pack("<HH", 273, 4), b"\0\0\4\0"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.promise(
    "Input: what a file declares is checked before room is made for it, and nesting has an end"
)
def test_what_a_file_declares_is_checked_before_it_is_decoded(
    kind: str, monkeypatch: pytest.MonkeyPatch
):
    def never(*_: object, **__: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(tifffile.TiffPage, "asarray", never)
    with pytest.raises(BrokenInputError):
        read_image("a.tif", REFUSED[kind]())


def test_no_more_is_inflated_than_a_strip_declares(monkeypatch: pytest.MonkeyPatch):
    asked: list[int] = []
    real = zlib.decompressobj

    class Watched:
        def __init__(self) -> None:
            self.of = real()

        def decompress(self, data: bytes, limit: int) -> bytes:
            asked.append(limit)
            return self.of.decompress(data, limit)

        @property
        def unconsumed_tail(self) -> bytes:
            return self.of.unconsumed_tail

    monkeypatch.setattr(zlib, "decompressobj", Watched)
    with pytest.raises(BrokenInputError, match="inflates to more than it declares"):
        read_image("a.tif", inflating(1 << 15))
    assert asked == [8 * 8 * 8]
