"""A run that is killed at random moments ends with the weights of one that was left alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).with_name("live_and_die.py")
TINY = Path(__file__).with_name("tiny.yaml")
PROMISE = pytest.mark.promise(
    "Resume: a run killed at random moments sees every sample once an epoch and ends with the "
    "weights of an undisturbed run, bit for bit"
)


def train(folder: Path, kills: int, steps: int, seed: int = 0) -> dict[str, Any]:
    """Train in a folder with that many kills; return what the run was doing at each."""
    folder.mkdir()
    args = ["fit", f"--config={TINY}", "--data.table=../t.lance", "--ckpt_path=last"]
    args += [f"--trainer.max_steps={steps}", "--trainer.val_check_interval=1.0"]
    args += ["--checkpoint.monitor=null", "--periodic_checkpoint.every_n_train_steps=2"]
    args += ["--trainer.callbacks+=live_and_die.Diary"]
    args += ["--trainer.plugins=[{class_path: live_and_die.TellingIO}]"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(kills), str(seed), *args],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1700,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["status"] == 0, done.stderr[-4000:]
    return found


def weights(folder: Path) -> dict[str, torch.Tensor]:
    saved = sorted(
        folder.glob("logs/tiny/version_*/checkpoints/last.ckpt"),
        key=lambda path: path.stat().st_mtime_ns,
    )
    state = torch.load(saved[-1], map_location="cpu", weights_only=True)["state_dict"]
    assert isinstance(state, dict)
    return state


def steps_seen(folder: Path) -> dict[int, tuple[int, tuple[str, ...]]]:
    """Return epoch and images of every step; one that was repeated must have been the same."""
    seen: dict[int, tuple[int, tuple[str, ...]]] = {}
    for line in (folder / "diary.jsonl").read_text().splitlines():
        told = json.loads(line)
        found = (told["epoch"], tuple(told["images"]))
        assert seen.setdefault(told["step"], found) == found
    return seen


def check(folder: Path, kills: int, steps: int) -> None:
    prepare = ["prepare", "MNI152", "-", "t.lance", "--options.image_size=64"]
    subprocess.run(
        [sys.executable, "-m", "syncsam_lightning.cli.main", *prepare], cwd=folder, check=True
    )
    left_alone, killed = folder / "alone", folder / "killed"
    train(left_alone, 0, steps)
    found = train(killed, kills, steps)
    print(f"{kills} kills in {steps} steps: {dict(Counter(found['killed']))}")
    assert len(found["killed"]) == kills

    seen = steps_seen(killed)
    assert seen == steps_seen(left_alone)
    assert sorted(seen) == list(range(steps))
    epochs: dict[int, list[str]] = {}
    for epoch, images in seen.values():
        epochs.setdefault(epoch, []).extend(images)
    assert all(len(set(images)) == len(images) for images in epochs.values())
    whole = list(epochs.values())[:-1]
    assert [len(images) for images in whole] == [72] * (steps * 2 // 72)
    assert all(sorted(images) == sorted(whole[0]) for images in whole)

    expected, weights_now = weights(left_alone), weights(killed)
    assert expected.keys() == weights_now.keys()
    for name, value in expected.items():
        assert torch.equal(value, weights_now[name]), name


@PROMISE
@pytest.mark.slow
def test_three_kills(tmp_path: Path):
    check(tmp_path, kills=3, steps=40)  # an epoch has 36


@PROMISE
@pytest.mark.slow
def test_thirty_kills_over_240_steps(tmp_path: Path):
    check(tmp_path, kills=30, steps=240)
