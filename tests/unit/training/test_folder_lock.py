"""The lock of a folder keeps other processes out, and ends with its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsam_lightning.locks import ProcessLock
from syncsam_lightning.training.folder_lock import FolderInUseError, FolderLock, check_is_free

HOLDER = """
import os, sys, time
from pathlib import Path
from syncsam_lightning.training.folder_lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
if os.fork() == 0:  # as a loader worker, which outlives its parent
    time.sleep(60)
    os._exit(0)
print("held", flush=True)
input()
lock.release()
print("released", flush=True)
input()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until it is told to release it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "runs")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


PROMISE = pytest.mark.promise("Resume: a second run in a folder is refused, a restart is not")


@PROMISE
def test_another_process_is_kept_out_and_the_holder_is_named(tmp_path: Path, holder):
    told = f"{tmp_path}/runs is in use by a run that is still going .process {holder.pid} on "
    for attempt in (FolderLock, check_is_free):
        with pytest.raises(FolderInUseError, match=told):
            attempt(tmp_path / "runs")


@PROMISE
def test_a_folder_that_was_released_is_free(tmp_path: Path, holder):
    holder.stdin.write("\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "released\n"
    assert list(tmp_path.iterdir()) == []
    FolderLock(tmp_path / "runs").release()


@PROMISE
def test_the_lock_of_a_killed_process_is_free_though_its_child_lives(tmp_path: Path, holder):
    holder.kill()
    holder.wait()
    check_is_free(tmp_path / "runs")
    lock = FolderLock(tmp_path / "runs")
    lock.release()
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_free_and_stays_so(tmp_path: Path):
    check_is_free(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_the_lock_says_who_holds_it(tmp_path: Path):
    lock = FolderLock(tmp_path / "runs")
    assert (tmp_path / ".runs.in_use").read_text().startswith(f"process {os.getpid()} on ")
    lock.release()


def test_one_who_looks_whether_a_folder_is_free_keeps_nobody_out(tmp_path: Path):
    looking = ProcessLock(tmp_path / ".runs.in_use")
    assert looking.acquire(timeout=0)
    threading.Timer(0.2, looking.release).start()
    FolderLock(tmp_path / "runs").release()


def test_a_folder_whose_lock_may_not_be_written_beside_counts_as_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / ".runs.in_use").touch()

    def refuse(lock: ProcessLock, timeout: float) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(ProcessLock, "acquire", refuse)
    check_is_free(tmp_path / "runs")
