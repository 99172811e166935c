from __future__ import annotations

import numpy as np

from syncsam_lightning.data.intensity import SliceRange, VolumePercentiles, Window, to_grey
from syncsam_lightning.volumes import Volume

VOXELS = np.arange(1000, dtype=np.int16).reshape(10, 10, 10)
VOLUME = Volume(VOXELS, np.eye(4))


def test_values_are_spread_over_all_greys_and_cut_off_outside():
    values = np.array([[-5.0, 0, 5, 10, 15]])
    assert to_grey(values, 0, 10).tolist() == [[0, 0, 128, 255, 255]]
    assert to_grey(values, 0, 10).dtype == np.uint8


def test_without_a_range_all_is_black():
    assert to_grey(np.full((2, 2), 7), 7, 7).tolist() == [[0, 0], [0, 0]]


def test_a_slice_has_its_own_range_and_a_window_none():
    values = VOXELS[:, :, 3]
    assert SliceRange().limits(values, VOLUME) == (3, 993)
    assert Window(-160, 240).limits(values, VOLUME) == (-160, 240)


def test_percentiles_are_those_of_the_whole_volume_in_its_units():
    values = VOXELS[:, :, 3]
    low, high = VolumePercentiles(10, 90).limits(values, VOLUME)
    np.testing.assert_allclose((low, high), np.percentile(VOXELS, (10, 90)))
    falling = Volume(VOXELS, np.eye(4), slope=-2.0, intercept=5.0)
    found = VolumePercentiles(10, 90).limits(values, falling)
    np.testing.assert_allclose(found, np.percentile(VOXELS * -2.0 + 5, (10, 90)))
