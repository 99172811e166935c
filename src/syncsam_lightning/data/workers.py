"""How worker processes are started, and end."""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.util  # its own exit handler must be there before ours, to run after it
import os
import signal
import threading
from multiprocessing import forkserver, resource_tracker
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
    _start_fork_server()
    atexit.unregister(_end_workers)
    atexit.register(_end_workers)
    return context


def _start_fork_server() -> None:
    """Start it, if it isn't running, with SIGTERM held back, as all its children then have it.

    A SIGTERM to the whole process group would otherwise end workers that are about to begin, and
    the run with them, before it has saved.
    """
    # First, since starting it ends any holding back of SIGTERM.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_workers() -> None:
    """Kill the workers that are left.

    At exit Python sends SIGTERM, which workers ignore, and waits: a program that still refers to
    its loader, as the traceback of an error does, would never end.
    """
    for child in multiprocessing.active_children():
        if isinstance(child, _Worker):
            child.kill()


def begin_worker(worker_id: int) -> None:
    """Leave SIGTERM, which reaches the whole process group, to the main process; die with it."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    leave_with_parent()


def leave_with_parent() -> None:
    """End this process as soon as the one that started it is gone, were it by SIGKILL.

    Python's own workers would wait for work for ever: the fork server that they descend from lives
    as long as they do.
    """
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
