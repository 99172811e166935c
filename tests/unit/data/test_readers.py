from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import AppendingTiffWriter

from syncsam_lightning.data.readers import read_grey, read_image, read_mask
from syncsam_lightning.errors import BrokenInputError

STEPS = np.array([[0, 100, 255]], dtype=np.uint8)


def test_grey_is_kept_and_equal_channels_are_grey(tmp_path: Path):
    Image.fromarray(STEPS).save(tmp_path / "grey.png")
    Image.fromarray(np.stack([STEPS] * 3, axis=-1)).save(tmp_path / "rgb.png")
    for name in ("grey.png", "rgb.png"):
        np.testing.assert_array_equal(read_grey(tmp_path / name), STEPS)


def test_colours_become_their_luminance(tmp_path: Path):
    colours = Image.fromarray(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], dtype=np.uint8))
    colours.save(tmp_path / "rgb.png")
    assert read_grey(tmp_path / "rgb.png").tolist() == [[76, 150, 29]]
    np.testing.assert_array_equal(read_grey(tmp_path / "rgb.png"), np.asarray(colours.convert("L")))


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


def test_pixels_count_as_stored_whatever_way_a_camera_was_held(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.new("RGB", (8, 4)).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").shape == (4, 8, 3)
