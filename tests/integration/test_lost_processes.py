"""A rank or a loader worker is gone: the others end and say so, and a restart goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

TINY = Path(__file__).with_name("tiny.yaml")
TWO_RANKS = ["--trainer.devices=2", "--trainer.strategy=ddp"]
# Ranks wait for each other's start too, which takes a while on a busy machine.
SHORT_WAIT = 120  # seconds
pytestmark = pytest.mark.slow


def command(*options: str) -> list[str]:
    given = [f"--config={TINY}", "--data.table=t.lance", "--trainer.limit_val_batches=0"]
    given += ["--checkpoint.monitor=null", "--ckpt_path=last"]
    given += ["--periodic_checkpoint.every_n_train_steps=3"]
    return [sys.executable, "-m", "syncsam_lightning.cli.main", "fit", *given, *options]


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("--trainer.max_steps=100000", *options),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def saved(folder: Path) -> list[Path]:
    return sorted(folder.glob("logs/tiny/version_*/checkpoints/*.ckpt"))


def wait_for(condition: Callable[[], object], run: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 600
    while not condition():
        assert run.poll() is None, run.communicate()[0]
        assert time.monotonic() < deadline, "nothing was saved in time"
        time.sleep(0.05)


def children(pid: int) -> dict[int, bytes]:
    """Return the processes that one has started, with their command lines."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == pid:
                    found[int(folder.name)] = (folder / "cmdline").read_bytes()
            except (OSError, IndexError):
                continue
    return found


def end(run: subprocess.Popen[str], seconds: float) -> str:
    try:
        output, _ = run.communicate(timeout=seconds)
        return output
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)


def goes_on(folder: Path, *options: str) -> None:
    newest = max(saved(folder), key=lambda path: path.stat().st_mtime_ns)
    done = int(torch.load(newest, map_location="cpu", weights_only=True)["global_step"])
    again = subprocess.run(
        command(f"--trainer.max_steps={done + 2}", *options),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    assert f"going on from {newest.relative_to(folder)}" in again.stderr


@pytest.mark.promise("Resume: a rank is killed or stands still; the others end, in bounded time")
@pytest.mark.parametrize(
    ("which", "number"),
    [("first", signal.SIGKILL), ("second", signal.SIGKILL), ("second", signal.SIGSTOP)],
    ids=["the first is killed", "the second is killed", "the second stands still"],
)
def test_the_other_rank_ends_and_says_so(tmp_path: Path, which: str, number: signal.Signals):
    stands_still = number == signal.SIGSTOP
    limit = [f"--rank_timeout={SHORT_WAIT}"] if stands_still else []  # a lost one is told at once
    run = start(tmp_path, *TWO_RANKS, *limit)
    wait_for(lambda: saved(tmp_path), run)
    (second,) = [pid for pid, words in children(run.pid).items() if b"fit" in words.split(b"\0")]
    os.kill(run.pid if which == "first" else second, number)
    # Both ranks hold the pipe, so this waits for both to end; one that stands still can't.
    if stands_still:
        run.wait(timeout=2 * SHORT_WAIT)
        os.kill(second, signal.SIGKILL)
    output = end(run, 120)
    assert run.returncode != 0
    assert "has lost another rank" in output
    assert "--ckpt_path last goes on" in output
    goes_on(tmp_path, *TWO_RANKS)


@pytest.mark.promise("Resume: a loader worker is killed; the run says so, and a restart goes on")
def test_a_killed_loader_worker_is_told(tmp_path: Path):
    run = start(tmp_path, "--data.num_workers=1")
    wait_for(lambda: saved(tmp_path), run)
    helpers = children(run.pid)  # the fork server, whose children the workers are
    (worker,) = [pid for helper in helpers for pid in children(helper)]
    os.kill(worker, signal.SIGKILL)
    output = end(run, 120)
    assert run.returncode == 2, output
    assert f"loader worker {worker} was ended from outside" in output
    assert "Traceback" not in output
    goes_on(tmp_path)
