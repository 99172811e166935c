from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import pytest

from syncsam_lightning.data.conversion import lock
from syncsam_lightning.data.conversion.lock import only_one


def test_the_second_waits_for_the_first_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path, order = tmp_path / "t.lock", []

    def second() -> None:
        with only_one(path, "t.lance"):
            order.append("second")

    with caplog.at_level(logging.WARNING):
        with only_one(path, "t.lance"):
            thread = threading.Thread(target=second)
            thread.start()
            deadline = time.monotonic() + 5
            while not caplog.messages and time.monotonic() < deadline:
                time.sleep(0.01)
            order.append("first")
        thread.join(timeout=5)
    assert order == ["first", "second"]
    assert caplog.messages == ["t.lance is being prepared by another process; waiting for it"]
    assert not path.exists()


def test_many_at_once_are_never_two(tmp_path: Path):
    inside, most, done = 0, 0, 0

    def enter() -> None:
        nonlocal inside, most, done
        with only_one(tmp_path / "t.lock", "t"):
            inside += 1
            most = max(most, inside)
            time.sleep(0.002)
            inside -= 1
            done += 1

    threads = [threading.Thread(target=enter) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert (done, most) == (20, 1)


def test_a_lock_file_without_a_holder_is_no_obstacle(tmp_path: Path):
    path = tmp_path / "t.lock"
    path.touch(mode=0o444)
    with only_one(path, "t"):
        assert path.exists()
    assert not path.exists()


def test_storage_without_locks_is_used_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with only_one(tmp_path / "t.lock", "t"):
        pass
    assert "cannot be locked" in caplog.text
    assert "start one preparation at a time" in caplog.text
