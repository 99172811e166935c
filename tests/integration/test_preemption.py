"""A scheduler takes the machine away: the run saves, leaves with 143, and goes on later."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

TINY = Path(__file__).with_name("tiny.yaml")
TWO_RANKS = ["--trainer.devices=2", "--trainer.strategy=ddp"]


def command(*options: str) -> list[str]:
    given = ["--config", str(TINY), "--data.table=t.lance", "--trainer.limit_val_batches=0"]
    given += [
        "--checkpoint.monitor=null",
        "--ckpt_path=last",
        "--periodic_checkpoint.every_n_train_steps=3",
    ]
    return [sys.executable, "-m", "syncsam_lightning.cli.main", "fit", *given, *options]


def finish(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*options), cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )


def saved(folder: Path, name: str) -> list[Path]:
    return sorted(folder.glob(f"logs/tiny/version_*/checkpoints/{name}"))


def steps(path: Path) -> int:
    return int(torch.load(path, map_location="cpu", weights_only=True)["global_step"])


def descendants(pid: int) -> list[int]:
    """Return the ranks that a launching rank has started, without their helpers."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except (OSError, IndexError):
                continue
            if parent == pid and b"fit" in words:
                found.append(int(folder.name))
    return found


@pytest.mark.promise("Resume: SIGTERM saves a checkpoint, leaves with 143, and a restart goes on")
@pytest.mark.parametrize(
    ("options", "to"),
    [
        ([], "main"),
        pytest.param(TWO_RANKS, "main", marks=pytest.mark.slow),
        pytest.param(TWO_RANKS, "other", marks=pytest.mark.slow),
        pytest.param(TWO_RANKS, "group", marks=pytest.mark.slow),
    ],
    ids=["one rank", "two, to the first", "two, to the second", "two, to both"],
)
def test_a_run_that_is_asked_to_stop_saves_and_goes_on_later(
    tmp_path: Path, options: list[str], to: str
):
    run = started(tmp_path, "--data.num_workers=1", *options)
    try:
        wait_for(lambda: saved(tmp_path, "resume.ckpt"), run)
        if to == "group":
            os.killpg(run.pid, signal.SIGTERM)
        else:
            os.kill(run.pid if to == "main" else descendants(run.pid)[0], signal.SIGTERM)
        output, _ = run.communicate(timeout=300)
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
    assert run.returncode == 143, output
    (preempted,) = saved(tmp_path, "preempted.ckpt")
    assert f"saved {preempted.relative_to(tmp_path)}" in output
    done = steps(preempted)
    assert done >= 3

    again = finish(tmp_path, f"--trainer.max_steps={done + 2}", *options)
    assert again.returncode == 0, again.stderr
    assert str(preempted.relative_to(tmp_path)) in again.stderr + again.stdout
    assert steps(saved(tmp_path, "last.ckpt")[-1]) == done + 2


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """What a shell starts in the background ignores Ctrl-C, and so does all that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_leaves_with_130_and_says_how_to_go_on(tmp_path: Path):
    run = started(tmp_path, "--data.num_workers=0")
    try:
        wait_for(lambda: saved(tmp_path, "resume.ckpt"), run)
        os.killpg(run.pid, signal.SIGINT)
        output, _ = run.communicate(timeout=300)
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
    assert run.returncode == 130, output
    assert output.endswith(
        "\ninterrupted: --ckpt_path last goes on from the newest checkpoint\n"
    ), output
    assert "weights_only" not in output  # of Lightning, to somebody who set nothing


@pytest.mark.promise("Resume: the newest whole checkpoint is found, a damaged one named")
def test_one_command_starts_a_run_and_takes_it_up_again(tmp_path: Path):
    for steps_in_all in (1, 3):
        done = finish(tmp_path, f"--trainer.max_steps={steps_in_all}")
        assert done.returncode == 0, done.stderr
    first, second = saved(tmp_path, "last.ckpt")
    assert (steps(first), steps(second)) == (1, 3)
    second.write_bytes(second.read_bytes()[:-1000])
    third = finish(tmp_path, "--trainer.max_steps=4")
    assert third.returncode == 0, third.stderr
    assert f"{second.relative_to(tmp_path)} is damaged" in third.stderr
    assert steps(saved(tmp_path, "last.ckpt")[-1]) == 4


def started(folder: Path, *options: str) -> subprocess.Popen[str]:
    """Start a run that does not end by itself, in a process group of its own."""
    return subprocess.Popen(
        command("--trainer.max_steps=100000", *options),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for(condition, run: subprocess.Popen[str], seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert run.poll() is None, run.communicate()[0]
        assert time.monotonic() < deadline, "nothing was saved in time"
        time.sleep(0.05)
