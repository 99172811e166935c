"""One process at a time, on this machine's disks and on file systems that lock otherwise."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from syncsam_lightning.locks import ProcessLock, only_one

BUSY = "t.lance is being prepared by another process"
NOBODY = 65534


def lock_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_second_waits_for_the_first_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path, order = tmp_path / "t.lock", []

    def second() -> None:
        with only_one(path, BUSY):
            order.append("second")

    with caplog.at_level(logging.WARNING):
        with only_one(path, BUSY):
            thread = threading.Thread(target=second)
            thread.start()
            deadline = time.monotonic() + 5
            while not caplog.messages and time.monotonic() < deadline:
                time.sleep(0.01)
            order.append("first")
        thread.join(timeout=5)
    assert order == ["first", "second"]
    assert caplog.messages == [f"{BUSY}; waiting for it"]
    assert not path.exists()


def test_many_at_once_are_never_two(tmp_path: Path):
    inside, most, done = 0, 0, 0

    def enter() -> None:
        nonlocal inside, most, done
        with only_one(tmp_path / "t.lock", BUSY):
            inside += 1
            most = max(most, inside)
            time.sleep(0.002)
            inside -= 1
            done += 1

    threads = [threading.Thread(target=enter) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert (done, most) == (20, 1)


def test_a_lock_file_without_a_holder_is_no_obstacle(tmp_path: Path):
    path = tmp_path / "t.lock"
    path.touch(mode=0o444)
    with only_one(path, BUSY):
        assert path.exists()
    assert not path.exists()


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks as NFS gives them: an exclusive one needs a descriptor that may write."""
    flock = fcntl.flock

    def flock_by_record(descriptor: int, operation: int) -> None:
        access = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
        if operation & fcntl.LOCK_EX and access == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock_by_record)


@pytest.mark.usefixtures("network")
def test_a_lock_that_needs_write_access_is_one(tmp_path: Path):
    first, second = (ProcessLock(tmp_path / "t.lock") for _ in range(2))
    assert first.acquire()
    assert not second.acquire(timeout=0)
    first.release()
    assert second.acquire(timeout=0)
    second.release()
    assert lock_files(tmp_path) == []


def test_a_file_that_goes_while_it_is_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    flock, seen = fcntl.flock, []
    path = tmp_path / "t.lock"

    def replace_first(descriptor: int, operation: int) -> None:
        if not seen:
            seen.append(descriptor)
            # As on NFS, where a file that is open keeps a name when it is removed.
            path.rename(tmp_path / ".nfs0001")
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", replace_first)
    lock = ProcessLock(path, "me")
    assert lock.acquire(timeout=0)
    assert path.read_text() == "me"
    assert not ProcessLock(path).acquire(timeout=0)
    lock.release()


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_where_there_are_no_locks_a_marker_keeps_others_out(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    first, second = (ProcessLock(tmp_path / "t.lock", "me") for _ in range(2))
    assert first.acquire(timeout=0)
    assert lock_files(tmp_path) == ["t.lock.soft"]
    assert not second.acquire(timeout=0)
    first.release()
    assert second.acquire(timeout=0)
    second.release()
    assert lock_files(tmp_path) == []
    assert f"has no locks ({os.strerror(code)}), so the file t.lock.soft stands" in caplog.text


DIES_WITH_A_MARKER = """
import errno, fcntl, os, signal, sys
from pathlib import Path
from syncsam_lightning.locks import ProcessLock
def refuse(descriptor, operation):
    raise OSError(errno.ENOLCK, "No locks available")
fcntl.flock = refuse
lock = ProcessLock(Path(sys.argv[1]))
assert lock.acquire(0)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_marker_of_a_killed_process_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "t.lock"
    subprocess.run([sys.executable, "-c", DIES_WITH_A_MARKER, str(path)], check=False)
    assert lock_files(tmp_path) == ["t.lock.soft"]

    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    lock = ProcessLock(path)
    assert lock.acquire(timeout=10)
    lock.release()


FORKS = """
import os, sys, time
from pathlib import Path
from syncsam_lightning.locks import ProcessLock
lock = ProcessLock(Path(sys.argv[1]))
assert lock.acquire(0)
if os.fork() == 0:
    lock.release()
    os._exit(0)
os.wait()
print("forked", flush=True)
input()
"""


def test_a_child_that_was_forked_can_neither_hold_nor_release_it(tmp_path: Path):
    path = tmp_path / "t.lock"
    with subprocess.Popen(
        [sys.executable, "-c", FORKS, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "forked\n"
        assert path.exists()
        assert not ProcessLock(path).acquire(timeout=0)
        holder.communicate("\n")
    lock = ProcessLock(path)
    assert lock.acquire(timeout=0)
    lock.release()


TAKES_IT_AS_NOBODY = f"""
import os, sys
from pathlib import Path
from syncsam_lightning.locks import ProcessLock
lock = ProcessLock(Path(sys.argv[1]))
os.setegid({NOBODY})
os.seteuid({NOBODY})  # only now: the environment may be closed to others
try:
    print(lock.acquire(timeout=0))
except PermissionError as error:
    print(error)
"""


def as_nobody(path: Path) -> str:
    command = [sys.executable, "-c", TAKES_IT_AS_NOBODY, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
@pytest.mark.parametrize("mode", [0o644, 0o600])
def test_what_another_user_left_in_a_shared_folder_bars_nobody(mode: int):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        (folder / "t.lock").touch()
        (folder / "t.lock").chmod(mode)
        told = as_nobody(folder / "t.lock")
        assert told == "True\n" if mode == 0o644 else "ask its owner to remove it" in told


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_another_user_in_a_shared_folder_is_waited_for():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        lock = ProcessLock(folder / "t.lock")
        assert lock.acquire(timeout=0)
        assert as_nobody(folder / "t.lock") == "False\n"
        lock.release()
        assert as_nobody(folder / "t.lock") == "True\n"
