"""What is being written is seen by nobody, and what a killed writer left goes."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncsam_lightning.whole_files import whole_file, work_folder

WRITER = """
import sys
from pathlib import Path
from syncsam_lightning.whole_files import whole_file, work_folder
folder = Path(sys.argv[1])
with whole_file(folder / "theirs") as file, work_folder(folder) as work:
    file.write(b"half")
    file.flush()
    (work / "a").write_text("half")
    print("writing", flush=True)
    input()
"""


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts a process that is in the midst of writing to the temporary folder."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_file_appears_when_it_is_whole(tmp_path: Path):
    path = tmp_path / "a.json"
    with whole_file(path) as file:
        file.write(b"half")
        file.flush()
        assert not path.exists()
        file.write(b" and half")
    assert path.read_bytes() == b"half and half"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_what_was_there(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_text("old")

    def write_half() -> None:
        with whole_file(path) as file:
            file.write(b"new")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_others_may_read_a_file_as_the_user_lets_them(tmp_path: Path):
    before = os.umask(0o027)
    try:
        with whole_file(tmp_path / "a"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_work_folder_goes_with_all_that_is_left_in_it(tmp_path: Path):
    with work_folder(tmp_path) as work:
        (work / "inner").mkdir()
        (work / "inner" / "a").touch()
        (work / "b").touch()
        (work / "b").replace(tmp_path / "b")
    assert list(tmp_path.iterdir()) == [tmp_path / "b"]


@pytest.mark.promise("Resume: what a killed process was writing is removed by the next")
def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path, writer):
    killed = writer()
    killed.kill()
    killed.wait()
    assert len(list(tmp_path.iterdir())) == 2
    with whole_file(tmp_path / "ours") as file:
        file.write(b"ours")
    assert list(tmp_path.iterdir()) == [tmp_path / "ours"]


@pytest.mark.promise("Resume: what a killed process was writing is removed by the next")
def test_what_a_live_process_is_writing_is_left_alone(tmp_path: Path, writer):
    live = writer()
    with whole_file(tmp_path / "ours") as file:
        file.write(b"ours")
    with work_folder(tmp_path):
        pass
    live.communicate("\n")
    assert live.returncode == 0
    assert (tmp_path / "theirs").read_bytes() == b"half"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours", "theirs"]


def test_one_that_is_swept_away_before_it_is_locked_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    lock, seen = fcntl.flock, []

    def sweep_first(descriptor: int, operation: int) -> None:
        if not seen:
            (partial,) = tmp_path.iterdir()
            seen.append(partial)
            partial.unlink()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", sweep_first)
    with whole_file(tmp_path / "a") as file:
        file.write(b"whole")
    assert seen
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"whole"]


def test_storage_without_locks_is_used_and_nothing_is_swept_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    perhaps_alive = tmp_path / ".saving-0.tmp"
    perhaps_alive.touch()
    with whole_file(tmp_path / "a") as file:
        file.write(b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"
    assert perhaps_alive.exists()


@pytest.mark.promise("Resume: what a killed process was writing is removed by the next")
def test_what_a_killed_writer_left_where_locks_need_write_access_is_removed(
    tmp_path: Path, writer, monkeypatch: pytest.MonkeyPatch
):
    flock = fcntl.flock

    def flock_by_record(descriptor: int, operation: int) -> None:
        access = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
        if operation & fcntl.LOCK_EX and access == os.O_RDONLY:
            raise OSError(9, "Bad file descriptor")
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock_by_record)
    killed = writer()
    killed.kill()
    killed.wait()
    with whole_file(tmp_path / "ours") as file:
        file.write(b"ours")
    assert not [path for path in tmp_path.glob(".saving-*.tmp") if path.is_file()]


def test_a_link_is_neither_followed_nor_removed(tmp_path: Path):
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.touch()
    (folder / ".saving-0.tmp").symlink_to(elsewhere)
    with whole_file(folder / "a"):
        pass
    assert elsewhere.exists()
