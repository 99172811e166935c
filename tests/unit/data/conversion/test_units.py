from __future__ import annotations

import io
import os

import pytest

from syncsam_lightning.data.conversion.units import cut_units
from syncsam_lightning.errors import ConversionError


def cut(items, size, **kwargs):
    return list(cut_units(items, lambda item: (item,), size, **kwargs))


def test_units_hold_all_items_in_order():
    units = cut(range(7), 3)
    assert [list(unit.items()) for unit in units] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [(unit.number, unit.size) for unit in units] == [(0, 3), (1, 3), (2, 1)]


def test_no_items_make_no_unit():
    assert cut([], 3) == []


def test_items_that_take_much_memory_close_a_unit_early():
    items = [os.urandom(1000) for _ in range(4)]
    assert [unit.size for unit in cut(items, 100, max_bytes=1500)] == [2, 2]


def test_what_items_share_is_stored_once():
    shared = tuple(range(1000, 3000))
    one, many = cut([(shared, 0)], 100), cut([(shared, n) for n in range(100)], 100)
    assert len(many[0].payload) < 1.5 * len(one[0].payload)
    assert list(many[0].items()) == [(shared, n) for n in range(100)]


def test_the_digest_tells_items_apart_and_is_stable():
    first, same, other = cut(["a", "b"], 2), cut(["a", "b"], 2), cut(["a", "c"], 2)
    assert first[0].digest == same[0].digest != other[0].digest
    joined, split = cut(["ab"], 2), cut(["a", "b"], 2)
    assert joined[0].digest != split[0].digest


def test_an_item_that_cannot_be_sent_is_named_with_the_remedy():
    with pytest.raises(ConversionError, match=r"^knee cannot be sent .* functools.partial"):
        list(cut_units([lambda: 0], lambda item: ("knee",), 2))
    with pytest.raises(ConversionError, match="cannot be sent"):
        cut([io.BytesIO().getbuffer()], 2)
