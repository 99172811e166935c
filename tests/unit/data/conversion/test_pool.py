from __future__ import annotations

import itertools
import operator
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsam_lightning.data.conversion.pool import run_in_processes
from syncsam_lightning.errors import BrokenInputError, ConversionError


class Drawn(Iterator[int]):
    """Counts how many units were drawn."""

    def __init__(self, count: int) -> None:
        self.left, self.drawn = count, 0

    def __next__(self) -> int:
        if not self.left:
            raise StopIteration
        self.left, self.drawn = self.left - 1, self.drawn + 1
        return self.drawn


def test_one_worker_is_the_calling_process_and_draws_one_unit_at_a_time():
    units = Drawn(3)
    results = run_in_processes(lambda unit: (unit, os.getpid()), units, 1)
    assert next(results) == (1, (1, os.getpid()))
    assert units.drawn == 1
    assert [unit for unit, _ in results] == [2, 3]


@pytest.mark.slow
def test_every_unit_is_done_once_and_few_are_drawn_ahead():
    units = Drawn(40)
    done = {}
    for unit, result in run_in_processes(operator.neg, units, 2):
        assert units.drawn <= len(done) + 8
        done[unit] = result
    assert done == {unit: -unit for unit in range(1, 41)}


@pytest.mark.slow
def test_an_exception_in_a_worker_keeps_its_type():
    with pytest.raises(ZeroDivisionError):
        list(run_in_processes((1).__truediv__, iter([1, 0]), 2))


@pytest.mark.slow
def test_a_worker_that_dies_ends_the_work_with_a_remedy():
    with pytest.raises(ConversionError, match=r"a worker process was killed.*run the same command"):
        list(run_in_processes(os._exit, iter([1] * 8), 2))


@pytest.mark.slow
def test_workers_are_stopped_when_the_caller_stops():
    results = run_in_processes(time.sleep, itertools.chain([0.0], itertools.repeat(600.0)), 2)
    assert next(results) == (0.0, None)
    begin = time.monotonic()
    results.close()
    assert time.monotonic() - begin < 60


ORPHANS = """
import os, signal, sys, time
from syncsam_lightning.data.conversion.pool import run_in_processes
if __name__ == "__main__":
    results = run_in_processes(time.sleep, iter([0.0, 600.0, 600.0]), 2)
    next(results)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_workers_do_not_outlive_a_killed_parent(tmp_path: Path):
    script = tmp_path / "orphans.py"
    script.write_text(ORPHANS)
    parent = subprocess.Popen([sys.executable, str(script)], start_new_session=True)
    assert parent.wait(timeout=120) == -signal.SIGKILL
    deadline = time.monotonic() + 60
    while is_running(parent.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_running(parent.pid)


def is_running(session: int) -> bool:
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_errors_of_broken_inputs_survive_the_way_between_processes():
    error = pickle.loads(pickle.dumps(BrokenInputError("a.png", "is cut", "cut file")))
    assert (error.path, error.reason, error.kind) == ("a.png", "is cut", "cut file")
    assert str(error) == "a.png: is cut"
