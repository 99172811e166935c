from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import AppendingTiffWriter

from syncsam_lightning.data.readers import (
    MAX_PIXELS,
    read_grey,
    read_image,
    read_labels,
    read_mask,
    stretched,
)
from syncsam_lightning.errors import BrokenInputError

STEPS = np.array([[0, 100, 255]], dtype=np.uint8)


def test_grey_is_kept_and_equal_channels_are_grey(tmp_path: Path):
    Image.fromarray(STEPS).save(tmp_path / "grey.png")
    Image.fromarray(np.stack([STEPS] * 3, axis=-1)).save(tmp_path / "rgb.png")
    for name in ("grey.png", "rgb.png"):
        np.testing.assert_array_equal(read_grey(tmp_path / name), STEPS)


@pytest.mark.parametrize("read", [read_grey, read_mask, read_labels])
@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)])
@pytest.mark.parametrize("background", [0, 255])
def test_an_object_in_colour_is_refused_by_all_that_read_masks(
    tmp_path: Path, read: Callable[[Path], np.ndarray], colour: tuple[int, ...], background: int
):
    pixels = np.full((4, 4, 3), background, np.uint8)
    pixels[1:3, 1:3] = colour
    Image.fromarray(pixels).save(tmp_path / "rgb.png")
    with pytest.raises(BrokenInputError, match="is a colour image: a mask is grey or has a pal"):
        read(tmp_path / "rgb.png")


@pytest.mark.parametrize("value", [2, 38, 127])
def test_an_object_too_dim_for_a_mask_is_told_and_not_lost(tmp_path: Path, value: int):
    Image.fromarray(np.array([[0, 0, value]], np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(BrokenInputError, match=f"largest value is {value}, .* 0 and 1, or 0 and 2"):
        read_mask(tmp_path / "a.png")


def test_the_slight_colours_of_jpeg_are_grey(tmp_path: Path):
    grey = np.arange(0, 256, 4, dtype=np.uint8).reshape(8, 8)
    tinted = np.stack([grey, grey // 255 * 250 + grey % 255, grey], axis=-1)
    Image.fromarray(tinted).save(tmp_path / "rgb.png")
    np.testing.assert_array_equal(read_grey(tmp_path / "rgb.png"), grey)


def test_palettes_and_bilevel_files_are_read_as_they_look(tmp_path: Path):
    palette = Image.fromarray(np.array([[0, 1]], dtype=np.uint8), mode="P")
    palette.putpalette([0, 0, 0, 255, 255, 255])
    palette.save(tmp_path / "p.png")
    Image.fromarray(np.array([[False, True]])).save(tmp_path / "1.png")
    for name in ("p.png", "1.png"):
        assert read_grey(tmp_path / name).tolist() == [[0, 255]]


def test_deeper_files_are_refused(tmp_path: Path):
    Image.fromarray(np.array([[0, 65535]], dtype=np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(BrokenInputError, match="a grey mask has 8 bits"):
        read_grey(tmp_path / "deep.png")


@pytest.mark.parametrize("name", ["a.tif", "a.gif", "a.png", "a.webp"])
@pytest.mark.parametrize("read", [read_image, read_mask, read_grey])
def test_of_several_pages_none_is_chosen_in_silence(
    tmp_path: Path, name: str, read: Callable[[Path], np.ndarray]
):
    pages = [Image.fromarray(np.full((8, 8, 3), 60 * n, np.uint8)) for n in range(3)]
    pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:])
    with pytest.raises(BrokenInputError, match=r"holds 3 pages, .* save the one you mean"):
        read(tmp_path / name)


def test_a_thumbnail_in_a_tiff_is_no_page(tmp_path: Path):
    whole, small = Image.new("L", (8, 8), 90), Image.new("L", (2, 2), 90)
    reduced_resolution = {254: 1}  # TIFF 6.0, NewSubfileType
    with AppendingTiffWriter(str(tmp_path / "a.tif"), True) as tiff:
        whole.save(tiff, "TIFF")
        tiff.newFrame()
        small.save(tiff, "TIFF", tiffinfo=reduced_resolution)
    with Image.open(tmp_path / "a.tif") as written:
        written.seek(1)
        assert written.tag_v2[254] == 1
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[..., 0], np.full((8, 8), 90))


def test_the_preview_that_a_phone_adds_to_a_jpeg_is_no_page(tmp_path: Path):
    whole, preview = Image.new("RGB", (8, 8), "white"), Image.new("RGB", (4, 4), "white")
    whole.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[preview])
    assert read_image(tmp_path / "a.jpg").shape == (8, 8, 3)


SHOT = np.arange(40 * 24 * 3, dtype=np.uint32).astype(np.uint8).reshape(24, 40, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp"])
def test_images_and_masks_are_turned_as_viewers_show_them(
    tmp_path: Path, name: str, orientation: int
):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(SHOT).save(tmp_path / name, exif=exif, lossless=True)
    with Image.open(tmp_path / name) as image:
        shown = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(read_image(tmp_path / name), shown)
    if name == "a.jpg":
        bgr = cv2.imread(str(tmp_path / name))
        assert read_image(tmp_path / name).shape == bgr.shape
    if name in ("a.png", "a.tif"):
        Image.fromarray(SHOT[..., 0]).save(tmp_path / name, exif=exif)
        np.testing.assert_array_equal(read_labels(tmp_path / name), shown[..., 0])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_colours_are_turned_too(tmp_path: Path, orientation: int):
    exif = Image.Exif()
    exif[0x0112] = orientation
    small = SHOT[..., 0].astype(np.uint16)
    deep = np.dstack([small, small + 300, small + 600])
    Image.fromarray(SHOT).save(tmp_path / "8.png", exif=exif)
    write_png(tmp_path / "16.png", deep, exif.tobytes())
    shown = read_image(tmp_path / "16.png")
    eight = read_image(tmp_path / "8.png")
    assert shown.shape == eight.shape
    # The first channel of both is the same picture, up to the stretch.
    assert np.corrcoef(shown[..., 0].ravel(), eight[..., 0].ravel())[0, 1] > 0.999


def write_png(path: Path, pixels: np.ndarray, exif: bytes = b"") -> None:
    """Write 16 bits of two to four channels, which Pillow can't."""
    colour_type = {2: 4, 3: 2, 4: 6}[pixels.shape[2]]
    header = struct.pack(">IIBBBBB", *pixels.shape[1::-1], 16, colour_type, 0, 0, 0)
    write_chunks(path, header, b"".join(b"\0" + r.astype(">u2").tobytes() for r in pixels), exif)


def write_few_bits(path: Path, values: np.ndarray, bits: int) -> None:
    """Write grey of 1, 2 or 4 bits, which Pillow can't."""
    planes = np.unpackbits(values[..., None], axis=2)[..., 8 - bits :]
    rows = np.packbits(planes.reshape(len(values), -1), axis=1)
    header = struct.pack(">IIBBBBB", *values.shape[::-1], bits, 0, 0, 0, 0)
    write_chunks(path, header, b"".join(b"\0" + row.tobytes() for row in rows))


def write_chunks(path: Path, header: bytes, lines: bytes, exif: bytes = b"") -> None:
    """Write a PNG (its specification, section 11)."""
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    if exif:
        chunks.insert(1, (b"eXIf", exif.removeprefix(b"Exif\0\0")))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
            for kind, content in chunks
        )
    )


TWELVE_BITS = np.random.default_rng(0).integers(0, 4096, (6, 7, 3), dtype=np.uint16)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_deep_colours_are_stretched_like_deep_grey(tmp_path: Path, channels: int):
    colours = TWELVE_BITS[..., :1] if channels == 2 else TWELVE_BITS
    opaque = np.full((6, 7, 1), 65535, np.uint16)
    write_png(
        tmp_path / "a.png", colours if channels == 3 else np.concatenate([colours, opaque], 2)
    )
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), stretched(colours))
    assert read_image(tmp_path / "a.png").max() == 255


def test_a_truncated_file_of_deep_colours_is_told(tmp_path: Path):
    write_png(tmp_path / "a.png", np.repeat(np.repeat(TWELVE_BITS, 9, 0), 9, 1))
    data = (tmp_path / "a.png").read_bytes()
    with pytest.raises(BrokenInputError, match="cannot be decoded"):
        read_image("a.png", data[: len(data) // 2])


@pytest.mark.parametrize("depth", [8, 16])
def test_jpeg_2000_is_read(tmp_path: Path, depth: int):
    pixels = TWELVE_BITS if depth == 16 else TWELVE_BITS.astype(np.uint8)
    pixels = np.repeat(np.repeat(pixels, 6, 0), 6, 1)
    lossless = [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000]
    assert cv2.imwrite(str(tmp_path / "a.jp2"), pixels[..., ::-1], lossless)
    expected = stretched(pixels) if depth == 16 else pixels
    np.testing.assert_array_equal(read_image(tmp_path / "a.jp2"), expected)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_of_few_bits_is_shown_from_black_to_white(tmp_path: Path, bits: int):
    values = np.arange(2**bits, dtype=np.uint8)[None]
    write_few_bits(tmp_path / "a.png", values, bits)
    shown = (values.astype(int) * 255 // (2**bits - 1)).astype(np.uint8)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[..., 0], shown)
    np.testing.assert_array_equal(read_grey(tmp_path / "a.png"), shown)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), values)


def test_the_limit_is_one_that_pillow_keeps(tmp_path: Path):
    assert 2 * (Image.MAX_IMAGE_PIXELS or 0) >= MAX_PIXELS
    header = struct.pack(">IIBBBBB", MAX_PIXELS + 1, 1, 8, 0, 0, 0, 0)
    write_chunks(tmp_path / "a.png", header, b"")
    with pytest.raises(BrokenInputError, match="pixels"):
        read_image(tmp_path / "a.png")
