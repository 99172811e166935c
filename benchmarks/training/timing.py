"""Times of several ways to do the same thing, taken in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import torch

Work = Callable[[], object]


def in_turns(ways: Mapping[str, Work], repeats: int) -> dict[str, list[float]]:
    """Time each way ``repeats`` times, A B A B …, after one untimed turn.

    What else a machine does then falls on all of them alike.

    Returns:
        Seconds of every repetition, by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, work in ways.items():
            _wait()
            begin = time.perf_counter()
            work()
            _wait()
            if turn:
                seconds[name].append(time.perf_counter() - begin)
    return seconds


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
