"""Running a reader with limits to memory and time, and telling how it went."""

from __future__ import annotations

import json
import logging
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

MEMORY = 4 << 30
"""Bytes beyond what the process has at the begin; a reader that wants more fails."""
SECONDS = 60
"""For one input."""


class Watch:
    """Counts runs of a reader, and keeps the input that it fails on.

    Args:
        run: the reader.
        seconds: until it is over.
        folder: for ``crash``, the input, and ``told.json``.
    """

    def __init__(self, run: Callable[[bytes], None], seconds: float, folder: str) -> None:
        self._run, self._folder = run, Path(folder)
        self._began, self._seconds, self._executions = time.monotonic(), seconds, 0
        logging.disable()
        signal.signal(signal.SIGALRM, _late)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))

    def is_over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() - self._began > self._seconds

    def __call__(self, data: bytes) -> None:
        """Run the reader; an exception of it goes on, after the input was kept."""
        self._executions += 1
        # Beforehand: a reader that crashes the process leaves no chance to do so.
        crash = self._folder / "crash"
        crash.write_bytes(data)
        signal.alarm(SECONDS)
        try:
            self._run(data)
        except BaseException as error:
            self.tell(f"{type(error).__name__}: {error}")
            raise
        finally:
            signal.alarm(0)
        crash.unlink()

    def tell(self, error: str = "") -> None:
        """Write how it went so far."""
        told = {
            "executions": self._executions,
            "seconds": time.monotonic() - self._began,
            "error": error,
        }
        (self._folder / "told.json").write_text(json.dumps(told))


def _late(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"the reader is not done after {SECONDS} seconds")
