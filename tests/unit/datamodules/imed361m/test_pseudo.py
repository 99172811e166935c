from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from syncsam_datamodules.imed361m.pseudo import clean_regions, pseudo_instances

from syncsam_lightning.data.readers import resolve_mask
from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.records import NamedMask

SHARED = Path(__file__).parents[5] / "shared" / "data" / "imed361m" / "BTCV" / "imask"


def load(path: Path) -> list[NamedMask]:
    return pseudo_instances(path.read_bytes(), str(path))


def cleaned_step_by_step(regions: np.ndarray) -> np.ndarray:
    """The published rule as it is told, on whole images."""
    regions = regions.copy()
    smallest = regions.size * 0.0005
    for number in np.unique(regions):
        if (regions == number).sum() < smallest:
            regions[regions == number] = -1
    for number in np.unique(regions):
        if number == -1:
            continue
        mask = regions == number
        solid = ndimage.binary_closing(ndimage.binary_opening(mask))
        pieces, count = ndimage.label(solid)
        sizes = ndimage.sum(solid, pieces, range(count + 1))
        for piece in np.flatnonzero(sizes < smallest):
            solid[pieces == piece] = False
        regions[mask] = -1
        regions[solid] = number
    return regions


def regions(tmp_path: Path, label_map: np.ndarray) -> dict[int, np.ndarray]:
    np.save(tmp_path / "r.npy", label_map)
    masks = load(tmp_path / "r.npy")
    return {mask.instance: resolve_mask(mask.mask, "") for mask in masks}


def test_a_solid_region_stays_as_it_is_and_minus_one_is_none(tmp_path: Path):
    label_map = np.full((40, 50, 1), -1, dtype=np.int64)
    label_map[3:9, 30:40] = 0
    label_map[20:25, 10:20] = 9
    found = regions(tmp_path, label_map)
    assert sorted(found) == [0, 9]
    corners = [(3, 30), (3, 39), (8, 30), (8, 39)]
    for at in corners:
        # Opening with a cross takes the corners.
        assert not found[0][at]
        label_map[at] = -1
    np.testing.assert_array_equal(found[0], label_map[..., 0] == 0)


def test_numbers_above_255_are_kept_apart(tmp_path: Path):
    label_map = np.full((40, 50), -1, dtype=np.int64)
    for number, column in ((1, 5), (257, 15), (65535, 25)):
        label_map[10:20, column : column + 8] = number
    assert {number: mask.sum() for number, mask in regions(tmp_path, label_map).items()} == {
        1: 76, 257: 76, 65535: 76,
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
def test_cleaning_equals_the_published_rule_step_by_step(seed: int):
    rng = np.random.default_rng(seed)
    height, width = 40 + 7 * seed, 61
    coarse = rng.integers(-1, 9, (height // 6 + 1, width // 6 + 1))
    label_map = np.kron(coarse, np.ones((6, 6), int))[:height, :width].astype(np.int32)
    noise = rng.random((height, width)) < 0.08
    label_map[noise] = rng.integers(-1, 300, noise.sum())
    np.testing.assert_array_equal(clean_regions(label_map), cleaned_step_by_step(label_map))


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the sample data are not beside the repository")
def test_cleaning_equals_the_published_rule_on_every_sample_image():
    files = sorted(SHARED.glob("*.npy"))
    assert len(files) == 56
    for path in files:
        label_map = np.load(path)[..., 0].astype(np.int32)
        np.testing.assert_array_equal(clean_regions(label_map), cleaned_step_by_step(label_map))


@pytest.mark.skipif(not SHARED.is_dir(), reason="the sample data are not beside the repository")
def test_cleaning_equals_the_published_rule_on_a_part_of_a_sample_image():
    label_map = np.load(min(SHARED.glob("*.npy")))[100:250, 150:320, 0].astype(np.int32)
    np.testing.assert_array_equal(clean_regions(label_map), cleaned_step_by_step(label_map))


def test_a_region_below_a_share_of_one_in_2000_is_dropped(tmp_path: Path):
    label_map = np.zeros((200, 200), dtype=np.int64)
    label_map[:3, :6] = 1
    label_map[50:56, 50:56] = 2
    assert sorted(regions(tmp_path, label_map)) == [0, 2]


def test_thin_lines_and_small_pieces_are_removed_and_pinholes_closed(tmp_path: Path):
    label_map = np.full((100, 100), -1, dtype=np.int64)
    label_map[10:30, 10:30] = 4
    label_map[20, 20] = -1
    label_map[60, :] = 4
    label_map[80:82, 80:82] = 4
    found = regions(tmp_path, label_map)[4]
    # Opening widens the pinhole to a cross, closing fills that again.
    expected = np.zeros((100, 100), dtype=bool)
    expected[10:30, 10:30] = True
    expected[[10, 10, 29, 29], [10, 29, 10, 29]] = False
    np.testing.assert_array_equal(found, expected)


def test_a_region_that_cleaning_dissolves_is_left_out(tmp_path: Path):
    label_map = np.full((100, 100), -1, dtype=np.int64)
    label_map[60, :] = 4
    label_map[:9, :9] = 5
    assert list(regions(tmp_path, label_map)) == [5]


def test_an_archive_in_place_of_pseudo_instances_is_refused(tmp_path: Path):
    with (tmp_path / "r.npy").open("wb") as file:
        np.savez(file, np.zeros((4, 4), dtype=np.int64))
    with pytest.raises(BrokenInputError, match="not a label map"):
        load(tmp_path / "r.npy")


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.array([[None, 1]]), "not a label map ("),
        (np.zeros((4, 4), dtype=np.float32), "not a label map (float32"),
        (np.zeros((4, 4, 2), dtype=np.int64), "not a label map (int64 of shape (4, 4, 2))"),
        (np.zeros((0, 4), dtype=np.int64), "not a label map"),
        (np.full((4, 4), -2, dtype=np.int64), "number is not in -1..65535"),
        (np.full((4, 4), 1 << 40, dtype=np.int64), "number is not in -1..65535"),
    ],
)
def test_an_array_that_is_no_label_map_is_refused(tmp_path: Path, array: np.ndarray, reason: str):
    np.save(tmp_path / "r.npy", array)
    with pytest.raises(BrokenInputError) as error:
        load(tmp_path / "r.npy")
    assert reason in error.value.reason
