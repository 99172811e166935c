"""Remembering millions of keys in a few bytes each."""

from __future__ import annotations

import numpy as np

_RECENT = 1 << 16


class SeenKeys:
    """A set of 63-bit keys that only grows.

    8 bytes a key, where a Python set takes about a hundred: recent keys are in a set, older ones in
    sorted arrays of which each is at least twice as long as the next.
    """

    def __init__(self) -> None:
        self._recent: set[int] = set()
        self._runs: list[np.ndarray] = []

    def add(self, key: int) -> bool:
        """Add a key and tell whether it is new."""
        if key in self._recent or any(holds(run, key) for run in self._runs):
            return False
        self._recent.add(key)
        if len(self._recent) == _RECENT:
            self._settle()
        return True

    def _settle(self) -> None:
        run = np.fromiter(self._recent, np.int64, len(self._recent))
        run.sort()
        while self._runs and len(self._runs[-1]) < 2 * len(run):
            run = np.concatenate([self._runs.pop(), run])
            run.sort(kind="stable")
        self._runs.append(run)
        self._recent = set()


def holds(keys: np.ndarray, key: int) -> bool:
    """Tell whether a key is in an ascending array of keys."""
    at = int(np.searchsorted(keys, key))
    return at < len(keys) and int(keys[at]) == key
