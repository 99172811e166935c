"""How far a long stage has come, on the standard error stream."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 60.0


class Progress:
    """A bar with rate and time left on a terminal, a line now and then anywhere else.

    What an earlier run had finished counts as done but not towards the rate.

    Args:
        title: of the stage.
        total: items to come, None if that is not known.
        unit: what the items are.
        shown: False for silence.
    """

    def __init__(self, title: str, total: int | None, unit: str, *, shown: bool = True) -> None:
        self._title, self._total, self._unit = title, total, unit
        self._lines = shown and not sys.stderr.isatty()
        self._bar = tqdm(
            desc=title,
            total=total,
            unit=f" {unit}",
            smoothing=0,
            disable=not shown or self._lines,
            dynamic_ncols=True,
        )
        self._done = self._found = 0
        self._begin = self._told = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.close()

    def found(self, count: int) -> None:
        """Count items that were finished before this run."""
        self._found += count
        self._bar.initial = self._found
        self.add(count)

    def add(self, count: int) -> None:
        """Count finished items."""
        self._done += count
        self._bar.update(count)
        now = time.monotonic()
        if self._lines and now - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = now
            print(self.line(now - self._begin), file=sys.stderr, flush=True)

    def line(self, seconds: float) -> str:
        """Return the state as one line, ``seconds`` after the begin."""
        return str(
            tqdm.format_meter(
                self._done,
                self._total,
                seconds,
                prefix=self._title,
                unit=f" {self._unit}",
                initial=self._found,
                ncols=0,
            )
        )
