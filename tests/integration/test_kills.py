"""A run that is killed at random moments ends with the weights of one that was left alone."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).with_name("live_and_die.py")
TINY = Path(__file__).with_name("tiny.yaml")
AIMS = ("step", "validation", "checkpoint", "anywhere")
ROWS, GLOBAL_BATCH = 72, 4
# Measured: 7e-7, with all but the loss in float64. A wrong batch or step makes it 1e-3 and more; in
# float32 Adam, which divides by small gradients, makes rounding 1e-2.
TOLERANCE = 1e-5
PROMISE = pytest.mark.promise(
    "Resume: a run killed inside steps, validations and writes of checkpoints sees every sample "
    "once an epoch and ends with the weights and scores of an undisturbed run, bit for bit"
)
PROMISE_OF_RANKS = pytest.mark.promise(
    "Resume: a run goes on with another number of ranks and sees every sample once an epoch"
)


def life(aim: str | None = None, ranks: int = 1, batch_size: int = GLOBAL_BATCH) -> dict[str, Any]:
    """Return one life of a run: how its end is aimed at (None: it isn't killed), and its ranks."""
    args = [f"--data.batch_size={batch_size}", f"--trainer.devices={ranks}"]
    args += ["--trainer.strategy=ddp"] if ranks > 1 else []
    return {"aim": aim, "world": ranks, "args": args}


def train(folder: Path, lives: Sequence[dict[str, Any]], steps: int, *options: str) -> list[str]:
    """Train in a folder that many steps in all; return what the run was doing at each kill."""
    folder.mkdir()
    args = ["fit", f"--config={TINY}", "--data.table=../t.lance", "--ckpt_path=last"]
    args += [f"--trainer.max_steps={steps}", "--periodic_checkpoint.every_n_train_steps=2"]
    args += ["--trainer.callbacks+=live_and_die.Diary"]
    args += ["--trainer.plugins=[{class_path: live_and_die.TellingIO}]", *options]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), json.dumps(lives), "0", *args],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1700,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert set(found["statuses"]) == {0}, done.stderr[-4000:]
    killed: list[str] = found["killed"]
    return killed


def prepare(folder: Path) -> None:
    command = ["prepare", "MNI152", "-", "t.lance", "--options.image_size=64"]
    program = [sys.executable, "-m", "syncsam_lightning.cli.main"]
    subprocess.run([*program, *command], cwd=folder, check=True, capture_output=True)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    saved = folder.glob("logs/tiny/version_*/checkpoints/last.ckpt")
    newest = max(saved, key=lambda path: path.stat().st_mtime_ns)
    state = torch.load(newest, map_location="cpu", weights_only=True)["state_dict"]
    assert isinstance(state, dict)
    return state


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def steps_kept(folder: Path) -> dict[int, tuple[int, list[str]]]:
    """Return epoch and images of every step that the weights at the end have gone through.

    Of a life, these are the steps before the one at which a later life begins; what came after was
    lost with it.
    """
    told = lines(folder, "steps.jsonl")
    begins: dict[int, int] = {}
    for line in told:
        begins.setdefault(line["life"], line["step"])
    kept: dict[int, tuple[int, list[str]]] = {}
    for line in told:
        later = [step for number, step in begins.items() if number > line["life"]]
        if line["step"] < min(later, default=line["step"] + 1):
            epoch, images = kept.setdefault(line["step"], (line["epoch"], []))
            assert epoch == line["epoch"]
            images += line["images"]
    return {step: (epoch, sorted(images)) for step, (epoch, images) in sorted(kept.items())}


def check_epochs(seen: dict[int, tuple[int, list[str]]], whole: int) -> None:
    """Check that epochs hold every image once; of the one that wasn't ended, none twice."""
    epochs: dict[int, list[str]] = {}
    for epoch, images in seen.values():
        epochs.setdefault(epoch, []).extend(images)
    assert list(epochs) == list(range(len(epochs)))
    assert len(epochs) >= whole
    for number, images in epochs.items():
        assert len(set(images)) == len(images)
        if number < whole:
            assert sorted(images) == sorted(epochs[0])
            assert len(images) == ROWS


def check(folder: Path, kills: int, steps: int) -> None:
    """Kill a run, as often inside steps as inside validations and writes of checkpoints."""
    aims = [AIMS[number % len(AIMS)] for number in range(kills)]
    random.Random(0).shuffle(aims)
    alone, killed = folder / "alone", folder / "killed"
    prepare(folder)
    every_9 = "--trainer.val_check_interval=9"
    train(alone, [life()], steps, every_9)
    fell = train(killed, [*map(life, aims), life()], steps, every_9)
    counts = Counter(fell)
    print(f"{kills} kills in {steps} steps: {dict(counts)}")
    assert len(fell) == kills
    for stage in ("step", "validation", "checkpoint"):
        assert counts[stage] >= kills // 8, f"{counts}: too few kills fell into a {stage}"

    seen = steps_kept(killed)
    assert seen == steps_kept(alone)
    assert list(seen) == list(range(steps))
    check_epochs(seen, steps * GLOBAL_BATCH // ROWS)

    scores = {line["step"]: line["dice"] for line in lines(alone, "validations.jsonl")}
    assert list(scores) == list(range(9, steps + 1, 9))
    again = [(line["step"], line["dice"]) for line in lines(killed, "validations.jsonl")]
    assert dict(again) == scores
    assert set(again) == set(scores.items())  # those that were repeated found the same

    expected, found = weights(alone), weights(killed)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name


@PROMISE
@pytest.mark.slow
def test_four_kills(tmp_path: Path):
    check(tmp_path, kills=4, steps=24)  # an epoch has 18


@PROMISE
@pytest.mark.slow
def test_thirty_kills_over_240_steps(tmp_path: Path):
    check(tmp_path, kills=30, steps=240)


@PROMISE_OF_RANKS
@pytest.mark.slow
@pytest.mark.parametrize("alone_size", [4, 2], ids=["the same global batch", "another"])
def test_ranks_that_change_between_kills(tmp_path: Path, alone_size: int):
    # Of each, the steps up to its newest checkpoint stay.
    lives = [life("step", 2, 2), life("step", 1, alone_size), life(None, 2, 2)]
    lives = [{**one, "least": 5} for one in lives]
    steps = 27
    options = ["--trainer.val_check_interval=6", "--model.network.frozen=[cnn,decoder]"]
    options += ["--trainer.precision=null", "--trainer.plugins+=live_and_die.Double"]
    prepare(tmp_path)
    fell = train(tmp_path / "killed", lives, steps, *options)
    print(f"2 ranks, killed in {fell[0]}; 1 rank, killed in {fell[1]}; 2 ranks")
    seen = steps_kept(tmp_path / "killed")
    assert list(seen) == list(range(steps))
    begins = [line["step"] for line in lines(tmp_path / "killed", "steps.jsonl")]
    assert begins.count(0) == 2, "the first life left no checkpoint"
    check_epochs(seen, whole=1)
    if alone_size == GLOBAL_BATCH:
        train(tmp_path / "alone", [life()], steps, *options)
        assert seen == steps_kept(tmp_path / "alone")
        expected, found = weights(tmp_path / "alone"), weights(tmp_path / "killed")
        for name, value in expected.items():
            assert torch.allclose(value, found[name], rtol=0, atol=TOLERANCE), name
