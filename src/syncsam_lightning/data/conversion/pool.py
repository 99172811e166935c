"""Working on units in several processes, with few of them in flight and no silent deaths."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeVar

from syncsam_lightning.data.workers import leave_with_parent, worker_context
from syncsam_lightning.errors import ConversionError

T = TypeVar("T")
R = TypeVar("R")

_IN_FLIGHT_PER_WORKER = 2


def run_in_processes(
    work: Callable[[T], R], units: Iterable[T], workers: int
) -> Iterator[tuple[T, R]]:
    """Do the work on every unit and yield each with its result, in the order of completion.

    Units are drawn as workers become free, so that memory doesn't grow with their number. When it
    ends with an error, or the caller stops early, the workers are stopped at once.

    Args:
        work: picklable, called in a worker.
        units: picklable.
        workers: processes; 1 works in the calling process.

    Raises:
        ConversionError: a worker process died.
    """
    if workers <= 1:
        for unit in units:
            yield unit, work(unit)
        return
    # A multiprocessing.Pool would wait for ever for the result of a worker that was killed.
    executor = ProcessPoolExecutor(
        workers, mp_context=worker_context(workers), initializer=_prepare_worker
    )
    source = iter(units)
    pending: dict[Future[R], T] = {}
    try:
        while True:
            room = _IN_FLIGHT_PER_WORKER * workers - len(pending)
            for unit in islice(source, room):
                pending[executor.submit(work, unit)] = unit
            if not pending:
                return
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                yield pending.pop(future), future.result()
    except BaseException as error:
        _kill_workers(executor)
        if not isinstance(error, BrokenProcessPool):
            raise
        raise ConversionError(
            "a worker process was killed, most likely because memory ran out, or could not start "
            "(then its own message stands above): run the same command again to go on from what is "
            "finished, with fewer workers if memory is short"
        ) from error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _kill_workers(executor: ProcessPoolExecutor) -> None:
    # Otherwise a Ctrl-C would be followed by minutes of waiting: the executor has a public way to
    # do this from Python 3.14 on only.
    for process in list((executor._processes or {}).values()):
        process.kill()


def _prepare_worker() -> None:
    # Ctrl-C reaches the whole process group; the main process stops its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The executor ends the workers that are left by it when one has died.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    leave_with_parent()
