from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from syncsam_lightning.cli.newest_checkpoint import (
    NoCheckpointError,
    newest_checkpoint,
    with_newest_checkpoint,
)
from syncsam_lightning.training.folder_lock import FolderInUseError


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Checkpoints of two versions of a run, from old to new."""
    paths = [tmp_path / "logs/a" / name for name in ("version_0/best.ckpt", "version_1/last.ckpt")]
    for age, path in enumerate(paths):
        path.parent.mkdir(parents=True)
        torch.save({"weights": torch.arange(1000) + age}, path)
        os.utime(path, (age, age))
    (tmp_path / "logs/a/version_1/.saving-x.tmp").write_bytes(b"half")
    return paths


@pytest.mark.promise("Resume: the newest whole checkpoint is found, a damaged one named")
def test_the_newest_wins_whatever_its_name(runs: list[Path], tmp_path: Path):
    assert newest_checkpoint(tmp_path / "logs") == runs[1]
    os.utime(runs[0], (9, 9))
    assert newest_checkpoint(tmp_path / "logs") == runs[0]


@pytest.mark.promise("Resume: the newest whole checkpoint is found, a damaged one named")
@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_one_is_named_and_passed_over(
    runs: list[Path], tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
):
    data = bytearray(runs[1].read_bytes())
    if damage == "flipped":
        data[data.find(torch.tensor([501, 502]).numpy().tobytes())] ^= 1
    runs[1].write_bytes({"truncated": data[:-100], "empty": b""}.get(damage, data))
    assert newest_checkpoint(tmp_path / "logs") == runs[0]
    assert f"{runs[1]} is damaged" in caplog.text


@pytest.mark.parametrize("given", [["--ckpt_path", "last"], ["--ckpt_path=last"]])
@pytest.mark.parametrize("command", ["fit", "test"])
def test_the_path_takes_the_place_of_last(
    runs: list[Path], tmp_path: Path, given: list[str], command: str
):
    args = [command, "--config", "a.yaml", *given, "--model.lr", "1"]
    assert with_newest_checkpoint(args, tmp_path / "logs") == [
        *[command, "--config", "a.yaml", "--model.lr", "1"],
        f"--ckpt_path={runs[1]}",
    ]


def test_a_folder_is_looked_through(runs: list[Path], tmp_path: Path):
    args = ["test", "--ckpt_path", str(runs[0].parent)]
    assert with_newest_checkpoint(args, tmp_path) == ["test", f"--ckpt_path={runs[0]}"]


def test_a_fit_begins_anew_where_there_is_none(tmp_path: Path):
    assert with_newest_checkpoint(["fit", "--ckpt_path", "last"], tmp_path / "no") == ["fit"]


@pytest.mark.parametrize("args", [["test", "--ckpt_path", "last"], ["fit", "--ckpt_path", "."]])
def test_everything_else_needs_one(
    tmp_path: Path, args: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NoCheckpointError, match="no whole checkpoint in"):
        with_newest_checkpoint(args, Path("logs"))


@pytest.mark.parametrize(
    "args", [["fit"], ["fit", "--ckpt_path", "x.ckpt"], ["fit", "--lr", "last"]]
)
def test_other_arguments_pass_unchanged(args: list[str], tmp_path: Path):
    assert with_newest_checkpoint(args, tmp_path) == args


HOLD = """
import sys
from pathlib import Path
from syncsam_lightning.training.folder_lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
print("held", flush=True)
input()
"""


@pytest.mark.promise("Resume: a second run in a folder is refused, a restart is not")
@pytest.mark.parametrize("place", ["version_1", "version_2/checkpoints"])
def test_a_run_that_is_still_going_is_not_taken_up(runs: list[Path], tmp_path: Path, place: str):
    # In version_2 it has no checkpoint yet: it goes on from one of an earlier start itself.
    held = tmp_path / "logs/a" / place
    command = [sys.executable, "-c", HOLD, str(held)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(FolderInUseError, match=f"{held} is in use by a run"):
            with_newest_checkpoint(["fit", "--ckpt_path", "last"], tmp_path / "logs")
        # A checkpoint of it may be measured, and a new run may begin from one that was chosen.
        for args in (["test", "--ckpt_path", "last"], ["fit", "--ckpt_path", str(tmp_path)]):
            assert with_newest_checkpoint(args, tmp_path) == [args[0], f"--ckpt_path={runs[1]}"]
        process.kill()
    again = with_newest_checkpoint(["fit", "--ckpt_path", "last"], tmp_path / "logs")
    assert again == ["fit", f"--ckpt_path={runs[1]}"]
