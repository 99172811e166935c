from __future__ import annotations

import numpy as np
import pytest

from syncsam_lightning.data.components import ComponentMask, Components, SmallestObject

THREE = np.array(
    [
        [1, 0, 0, 0, 1],
        [0, 1, 0, 0, 0],
        [0, 0, 0, 1, 1],
    ],
    dtype=bool,
)


def test_corners_join():
    components = Components.of(THREE)
    assert components.areas.tolist() == [2, 1, 2]
    assert components.mask(0).whole().tolist() == [
        [True, *[False] * 4],
        [False, True, *[False] * 3],
        [False] * 5,
    ]


def test_components_come_in_the_order_of_rows_and_make_up_the_mask():
    components = Components.of(THREE)
    drawn = [ComponentMask(components, index)().whole() for index in range(len(components))]
    firsts = [int(np.flatnonzero(mask)[0]) for mask in drawn]
    assert firsts == sorted(firsts)
    np.testing.assert_array_equal(np.stack(drawn).sum(axis=0), THREE)


def test_the_whole_is_one_component_and_nothing_is_none():
    whole = Components.whole(THREE)
    assert whole.areas.tolist() == [5]
    np.testing.assert_array_equal(whole.mask(0).whole(), THREE)
    assert len(Components.whole(THREE & False)) == len(Components.of(THREE & False)) == 0


@pytest.mark.parametrize(
    ("inclusive", "kept"), [(True, [False, True, True]), (False, [False, False, True])]
)
def test_exactly_the_smallest_share_is_kept_or_not(inclusive: bool, kept: list[bool]):
    smallest = SmallestObject(100 / 256**2, inclusive)
    # At another size the threshold is another area: 400 of 512 x 512.
    assert smallest.keeps(np.array([99, 100, 101]), 256**2).tolist() == kept
    assert smallest.keeps(np.array([399, 400, 401]), 512**2).tolist() == kept


def test_a_share_is_a_share():
    with pytest.raises(ValueError, match="share must be at least 0 and below 1, got 100"):
        SmallestObject(100)
