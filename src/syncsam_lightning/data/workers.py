"""How loader workers are started."""

from __future__ import annotations

import atexit
import multiprocessing.util  # its own exit handler must be there before ours, to run after it
import signal
from multiprocessing.context import BaseContext, ForkServerContext, ForkServerProcess


class _Worker(ForkServerProcess):
    """A loader worker, told from other processes."""


class _WorkerContext(ForkServerContext):
    Process = _Worker


def worker_context(num_workers: int) -> BaseContext | None:
    """Return the start method for loader workers, None when there are none.

    Never ``fork``: a process that opened a Lance table and then forks crashes or hangs. The fork
    server imports torch once, so that workers start fast and share its pages.
    """
    if num_workers == 0:
        return None
    context = _WorkerContext()
    context.set_forkserver_preload(["torch"])
    atexit.unregister(_end_workers)
    atexit.register(_end_workers)
    return context


def _end_workers() -> None:
    """Kill the workers that are left.

    At exit Python sends SIGTERM, which workers ignore, and waits: a program that still refers to
    its loader, as the traceback of an error does, would never end.
    """
    for child in multiprocessing.active_children():
        if isinstance(child, _Worker):
            child.kill()


def ignore_sigterm(worker_id: int) -> None:
    """Leave SIGTERM, which reaches the whole process group, to the main process."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
