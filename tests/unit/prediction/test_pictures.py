from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from syncsam_lightning.errors import BrokenInputError, InvalidImageError
from syncsam_lightning.prediction import rgb_pixels

GREY = np.array([[0, 100], [200, 255]], np.uint8)
RGB = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)


@pytest.mark.parametrize("grey", [GREY, GREY[..., None]])
def test_grey_is_repeated(grey: np.ndarray):
    np.testing.assert_array_equal(rgb_pixels(grey), np.stack([GREY] * 3, axis=2))


def test_bytes_stay_as_they_are():
    np.testing.assert_array_equal(rgb_pixels(RGB), RGB)


def test_opencv_s_order_is_turned_around():
    np.testing.assert_array_equal(rgb_pixels(RGB[..., ::-1], "BGR"), RGB)


def test_alpha_is_dropped():
    rgba = np.concatenate([RGB, np.zeros((2, 2, 1), np.uint8)], axis=2)
    np.testing.assert_array_equal(rgb_pixels(rgba), RGB)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.int32, np.float32, np.float64])
def test_deep_images_are_stretched(dtype: type):
    deep = (
        np.array([[-100, 0], [110, 300]]).astype(dtype)
        if dtype != np.uint16
        else np.array([[1000, 1100], [1210, 1400]], dtype)
    )
    assert rgb_pixels(deep)[..., 0].tolist() == [[0, 64], [134, 255]]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "I;16", "LA"])
def test_every_kind_of_png_becomes_rgb(tmp_path: Path, mode: str):
    image = (
        Image.fromarray(GREY.astype(np.uint16) * 100)
        if mode == "I;16"
        else Image.fromarray(GREY).convert(mode)
    )
    image.save(tmp_path / "x.png")
    pixels = rgb_pixels(tmp_path / "x.png")
    assert (pixels.shape, pixels.dtype) == ((2, 2, 3), np.uint8)
    if mode in ("L", "RGB", "RGBA", "LA", "I;16"):
        np.testing.assert_array_equal(pixels[..., 1], GREY)


def test_a_file_s_channels_are_never_turned_around(tmp_path: Path):
    Image.fromarray(RGB).save(tmp_path / "x.png")
    np.testing.assert_array_equal(rgb_pixels(tmp_path / "x.png", "BGR"), RGB)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((2, 2), bool), "bool"),
        (np.zeros((2, 2, 2)), "2, 2, 2"),
        (np.zeros((3, 20, 30)), "channels come last"),
        (np.zeros((9, 20, 30)), "VolumePredictor"),
        (np.zeros((0, 5)), "0, 5"),
        (np.array([[np.nan, 1.0]]), "not finite"),
        (np.zeros((2, 2), complex), "complex"),
    ],
)
def test_what_is_no_image_is_refused(pixels: np.ndarray, message: str):
    with pytest.raises(InvalidImageError, match=message):
        rgb_pixels(pixels)


def test_a_file_that_is_no_image_is_named(tmp_path: Path):
    (tmp_path / "x.png").write_text("x")
    with pytest.raises(BrokenInputError, match=r"x\.png: not an image"):
        rgb_pixels(tmp_path / "x.png")
