"""How loader workers are started."""

from __future__ import annotations

import multiprocessing
import signal
from multiprocessing.context import BaseContext


def worker_context(num_workers: int) -> BaseContext | None:
    """Return the start method for loader workers, None when there are none.

    Never ``fork``: a process that opened a Lance table and then forks crashes or hangs. The fork
    server imports torch once, so that workers start fast and share its pages.
    """
    if num_workers == 0:
        return None
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch"])
    return context


def ignore_sigterm(worker_id: int) -> None:
    """Leave SIGTERM, which reaches the whole process group, to the main process."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
