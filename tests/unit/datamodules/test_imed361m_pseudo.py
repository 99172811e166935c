from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from syncsam_datamodules.imed361m import pseudo_instances

from syncsam_lightning.data.readers import resolve_mask
from syncsam_lightning.errors import BrokenInputError


def regions(tmp_path: Path, label_map: np.ndarray) -> dict[int, np.ndarray]:
    np.save(tmp_path / "r.npy", label_map)
    masks = pseudo_instances(tmp_path / "r.npy")
    return {mask.instance: resolve_mask(mask.mask, "") for mask in masks}


def test_a_solid_region_stays_as_it_is_and_minus_one_is_none(tmp_path: Path):
    label_map = np.full((40, 50, 1), -1, dtype=np.int64)
    label_map[3:9, 40:50] = 0
    label_map[20:25, 10:20] = 9
    found = regions(tmp_path, label_map)
    assert sorted(found) == [0, 9]
    for number, mask in found.items():
        np.testing.assert_array_equal(mask, label_map[..., 0] == number)


def test_a_region_below_a_share_of_one_in_2000_is_dropped(tmp_path: Path):
    label_map = np.zeros((200, 200), dtype=np.int64)
    label_map[:3, :6] = 1
    label_map[50:54, 50:55] = 2
    assert sorted(regions(tmp_path, label_map)) == [0, 2]


def test_thin_lines_and_small_pieces_are_removed_and_pinholes_closed(tmp_path: Path):
    label_map = np.full((100, 100), -1, dtype=np.int64)
    label_map[10:30, 10:30] = 4
    label_map[20, 20] = -1
    label_map[60, :] = 4
    found = regions(tmp_path, label_map)[4]
    # Opening widens the pinhole to the size of its square, closing fills that again.
    expected = np.zeros((100, 100), dtype=bool)
    expected[10:30, 10:30] = True
    np.testing.assert_array_equal(found, expected)


def test_a_region_that_cleaning_dissolves_is_named(tmp_path: Path):
    label_map = np.full((100, 100), -1, dtype=np.int64)
    label_map[60, :] = 4
    np.save(tmp_path / "r.npy", label_map)
    (mask,) = pseudo_instances(tmp_path / "r.npy")
    with pytest.raises(BrokenInputError, match=r"r\.npy\[4\]: no piece of this pseudo-instance"):
        resolve_mask(mask.mask, mask.path)


def test_an_archive_in_place_of_pseudo_instances_is_refused(tmp_path: Path):
    with (tmp_path / "r.npy").open("wb") as file:
        np.savez(file, np.zeros((4, 4), dtype=np.int64))
    with pytest.raises(BrokenInputError, match="not a label map"):
        pseudo_instances(tmp_path / "r.npy")


@pytest.mark.parametrize(
    ("array", "reason"),
    [
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
        pseudo_instances(tmp_path / "r.npy")
    assert reason in error.value.reason
