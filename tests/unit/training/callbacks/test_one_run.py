"""What another run is writing to is refused before anything is written there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from syncsam_lightning.training.callbacks.one_run import OneRunPerFolder
from syncsam_lightning.training.folder_lock import FolderInUseError

PROMISE = pytest.mark.promise("Resume: a second run in a folder is refused, a restart is not")
HOLDER = """
import sys
from pathlib import Path
from syncsam_lightning.training.folder_lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
print("held", flush=True)
input()
"""


@pytest.fixture
def occupy() -> Iterator[Callable[[Path], subprocess.Popen[bytes]]]:
    """Lets another process hold a folder."""
    started: list[subprocess.Popen[bytes]] = []

    def start(folder: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", HOLDER, str(folder)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def fit(discs: Any, task: Any, trainer: Any, tmp_path: Path) -> Callable[..., pl.Trainer]:
    def run(**options: Any) -> pl.Trainer:
        given = {"max_steps": 1, "limit_val_batches": 0, "enable_checkpointing": True}
        own = [OneRunPerFolder(), *options.pop("callbacks", [])]
        pilot: pl.Trainer = trainer(tmp_path, **(given | options), callbacks=own)
        pilot.fit(task(), discs())
        return pilot

    return run


def options_of(case: str, folder: Path) -> tuple[dict[str, Any], Path]:
    if case == "a folder of its own":
        return {"callbacks": [ModelCheckpoint(dirpath=folder / "kept")]}, folder / "kept"
    if case == "the logger's":
        logger = CSVLogger(folder, name="a", version=3)
        return {"logger": logger}, folder / "a" / "version_3" / "checkpoints"
    return {}, folder / "checkpoints"


@PROMISE
@pytest.mark.parametrize("case", ["a folder of its own", "the logger's", "the default"])
def test_a_fit_is_refused_where_another_is_going_on_until_that_is_killed(
    fit: Any, occupy: Any, tmp_path: Path, case: str
):
    options, folder = options_of(case, tmp_path)
    other = occupy(folder)
    with pytest.raises(FolderInUseError, match=f"{folder} is in use by a run .*{other.pid}"):
        fit(**options)
    assert not folder.exists()
    other.kill()
    other.wait()
    fit(**options_of(case, tmp_path)[0])
    assert [path.suffix for path in folder.iterdir()] == [".ckpt"]


@PROMISE
def test_a_test_is_refused_where_another_writes_its_results(
    discs: Any, task: Any, trainer: Any, occupy: Any, tmp_path: Path
):
    occupy(tmp_path / "test")
    pilot = trainer(tmp_path, callbacks=[OneRunPerFolder()])
    with pytest.raises(FolderInUseError, match="test is in use"):
        pilot.test(task(), discs())
    assert not (tmp_path / "test").exists()


def test_a_run_that_fails_lets_others_in(
    discs: Any, task: Any, trainer: Any, fit: Any, tmp_path: Path
):
    class Fails(pl.Callback):
        def on_train_batch_start(self, *args: Any) -> None:
            assert (tmp_path / ".checkpoints.in_use").exists()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fit(callbacks=[Fails()])
    assert not (tmp_path / ".checkpoints.in_use").exists()


def test_a_trial_that_writes_nothing_is_let_in_anywhere(fit: Any, occupy: Any, tmp_path: Path):
    occupy(tmp_path / "checkpoints")
    fit(fast_dev_run=True)
