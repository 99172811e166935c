from __future__ import annotations

import numpy as np
import pytest

from syncsam_lightning.errors import InvalidImageError
from syncsam_lightning.volumes import Window, parse_window
from syncsam_lightning.volumes.windows import UnknownWindowError


@pytest.mark.parametrize(
    ("name", "black", "white"),
    [
        ("soft_tissue", -160, 240),
        ("lung", -1350, 150),
        ("bone", -500, 1300),
        ("brain", 0, 80),
        ("liver", -45, 105),
        ("100,50", 0, 100),
    ],
)
def test_a_window_goes_from_black_to_white(name: str, black: float, white: float):
    grey = parse_window(name).grey(
        np.array([[black - 500, black, (black + white) / 2, white, white + 500]])
    )
    assert grey.tolist() == [[0, 0, 128, 255, 255]]


def test_a_rule_over_the_volume_is_the_same_for_all_slices():
    voxels = np.arange(200.0).reshape(2, 10, 10)
    window = parse_window("minmax").fitted(voxels)
    assert window == Window(0, 199)
    assert window.grey(voxels[0]).max() < 130


def test_a_rule_by_slice_stretches_each():
    voxels = np.arange(200.0).reshape(2, 10, 10)
    window = parse_window("minmax_slice").fitted(voxels)
    assert [(window.grey(s).min(), window.grey(s).max()) for s in voxels] == [(0, 255)] * 2


def test_outliers_do_not_count_among_percentiles():
    voxels = np.arange(10_000.0).reshape(1, 100, 100)
    voxels[0, 0, 0] = 1e9
    fitted = parse_window("percentiles").fitted(voxels)
    assert fitted.high is not None
    assert fitted.high < 10_000


def test_a_constant_slice_is_black():
    assert parse_window("minmax_slice").grey(np.full((2, 2), 7.0)).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("text", ["kidney", "400", "0,40", "-5,3", "a,b", "nan,1", "1,2,3"])
def test_what_is_no_window_is_refused_with_those_that_are(text: str):
    with pytest.raises(UnknownWindowError, match="soft_tissue"):
        parse_window(text)


@pytest.mark.parametrize("rule", ["percentiles", "minmax", "minmax_slice"])
def test_what_is_no_part_of_the_picture_is_black_and_moves_no_window(rule: str):
    voxels = np.linspace(100, 300, 201, dtype=np.float32)[:, None, None]
    padded = np.concatenate([voxels, np.full((300, 1, 1), -np.inf, np.float32)])
    window = Window(rule=rule).fitted(padded)
    assert window == Window(rule=rule).fitted(voxels)
    grey = window.grey(padded[..., 0])
    np.testing.assert_array_equal(grey[:201], window.grey(voxels[..., 0]))
    assert (grey[201:] == 0).all()


@pytest.mark.parametrize("rule", ["percentiles", "minmax_slice"])
def test_a_slice_without_a_picture_is_black(rule: str):
    empty = np.full((3, 4, 1), -np.inf, np.float32)
    assert (Window(rule=rule).fitted(empty).grey(empty[..., 0]) == 0).all()


@pytest.mark.parametrize("window", ["percentiles", "minmax", "minmax_slice"])
def test_without_a_range_all_is_black(window: str):
    voxels = np.full((2, 3, 4), 7.0)
    assert parse_window(window).fitted(voxels).grey(voxels[0]).max() == 0


@pytest.mark.parametrize("name", ["percentiles", "minmax", "minmax_slice", "soft_tissue"])
def test_nan_is_refused_and_not_shown_as_black(name: str):
    voxels = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    voxels[1, 1, 1] = np.nan
    with pytest.raises(InvalidImageError, match="NaN, which no window can show"):
        parse_window(name).fitted(voxels).grey(voxels[1])


@pytest.mark.parametrize("name", ["percentiles", "minmax", "minmax_slice"])
def test_no_window_is_made_of_infinity(name: str):
    voxels = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    voxels[1, 1, 1] = np.inf
    with pytest.raises(InvalidImageError, match="infinity, which no window can show"):
        parse_window(name).fitted(voxels).grey(voxels[1])
