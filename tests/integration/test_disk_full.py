"""A disk that is full, stood in for by a limit on the size of files."""

from __future__ import annotations

import resource
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

TINY = Path(__file__).with_name("tiny.yaml")


def syncsam(folder: Path, *args: str, limit: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run the program, with files of at most ``limit`` bytes."""
    bound = (limit, limit)
    return subprocess.run(
        [sys.executable, "-m", "syncsam_lightning.cli.main", *args],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        preexec_fn=limit and partial(resource.setrlimit, resource.RLIMIT_FSIZE, bound),
    )


@pytest.mark.promise("Limits: a full disk while converting gives one sentence; a rerun goes on")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_conversion_says_so_and_goes_on_when_there_is_room(tmp_path: Path, workers: str):
    command = ["prepare", "MNI152", "-", "t.lance", "--workers", workers]
    full = syncsam(tmp_path, *command, limit=30_000)
    assert full.returncode == 2, full.stderr
    assert "Traceback" not in full.stderr
    assert "error: no space left for t.lance.partial" in full.stderr
    assert "the same command" in full.stderr
    assert not (tmp_path / "t.lance").exists()
    assert syncsam(tmp_path, *command).returncode == 0
    assert {path.name for path in tmp_path.glob("t.*")} == {"t.lance", "t.skipped.jsonl"}


@pytest.mark.promise("Resume: a full disk while saving leaves the earlier checkpoint whole")
def test_a_run_that_cannot_save_says_so_and_keeps_what_it_saved_before(tmp_path: Path):
    prepared = syncsam(tmp_path, "prepare", "MNI152", "-", "t.lance", "--options.image_size=64")
    assert prepared.returncode == 0, prepared.stderr
    fit = ["fit", "--config", str(TINY), "--data.table=t.lance", "--ckpt_path=last"]
    fit += ["--trainer.limit_val_batches=0", "--checkpoint.monitor=null"]
    assert syncsam(tmp_path, *fit, "--trainer.max_steps=1").returncode == 0
    (saved,) = tmp_path.glob("logs/tiny/version_0/checkpoints/last.ckpt")
    full = syncsam(tmp_path, *fit, "--trainer.max_steps=2", limit=1_000_000)
    assert full.returncode == 2, full.stderr
    assert "Traceback" not in full.stderr
    assert "could not be written" in full.stderr
    assert not list(tmp_path.glob("logs/tiny/version_1/checkpoints/*"))
    assert torch.load(saved, map_location="cpu", weights_only=True)["global_step"] == 1
    again = syncsam(tmp_path, *fit, "--trainer.max_steps=2")
    assert again.returncode == 0, again.stderr
