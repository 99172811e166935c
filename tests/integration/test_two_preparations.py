"""Two processes that prepare one table make it once, and lose nothing of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsam_lightning.data.table import Table

SCRIPT = Path(__file__).with_name("prepare_together.py")
NUM_IMAGES = 24


@pytest.fixture
def two() -> Iterator[list[subprocess.Popen[str]]]:
    """Two processes that prepare the table whose path they read."""
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.promise("Resume: two preparations of one table make it once, on network folders too")
@pytest.mark.parametrize("times", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_over_a_lock_that_needs_write_access(
    two: list[subprocess.Popen[str]], tmp_path: Path, times: int
):
    for number in range(times):
        table = tmp_path / str(number) / "t.lance"
        for process in two:
            assert process.stdin is not None
            process.stdin.write(f"{table}\n")
            process.stdin.flush()
        told = [process.stdout.readline() for process in two if process.stdout is not None]
        assert sorted(told) == ["made\n", "there\n"], f"round {number}"
        ids = [record.id for record in Table(table).read(range(len(Table(table))))]
        assert sorted(ids, key=int) == [str(row) for row in range(NUM_IMAGES)]
        left = sorted(path.name for path in table.parent.iterdir())
        assert left == ["t.lance", "t.skipped.jsonl"]
