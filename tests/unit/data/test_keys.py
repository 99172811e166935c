from __future__ import annotations

import numpy as np
import pytest

from syncsam_lightning.data import keys
from syncsam_lightning.data.keys import SeenKeys, holds


def test_every_key_is_new_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keys, "_RECENT", 8)
    numbers = np.random.default_rng(0).integers(0, 300, 1000).tolist()
    seen, known = SeenKeys(), set()
    for number in numbers:
        assert seen.add(number) == (number not in known)
        known.add(number)
    assert len(seen._runs) <= 6


def test_holds_finds_first_last_and_absent_keys():
    ascending = np.array([2, 5, 9])
    assert [holds(ascending, key) for key in (1, 2, 4, 5, 9, 10)] == [
        False,
        True,
        False,
        True,
        True,
        False,
    ]
    assert not holds(np.zeros(0, np.int64), 1)
