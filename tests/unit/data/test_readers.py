from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from syncsam_lightning.data.readers import read_grey
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
