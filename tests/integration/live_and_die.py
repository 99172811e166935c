"""Run `syncsam` many times over, killing it; a program of its own, for `test_kills.py`.

It forks each life, before any table is open, so that torch and Lightning are imported once. What a
life is doing when it is killed is read from memory shared with it.
"""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from syncsam_lightning.cli.lightning_cli import SyncSAMCLI  # noqa: F401  imported once, for all
from syncsam_lightning.cli.main import main
from syncsam_lightning.training.checkpoint import AtomicCheckpointIO

STAGES = ("start", "step", "validation", "checkpoint", "between")
fork = multiprocessing.get_context("fork")
stage, steps_of_life = fork.Value(ctypes.c_int, 0), fork.Value(ctypes.c_int, 0)


class Diary(pl.Callback):
    """Writes what each step saw, and tells what is going on."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        stage.value = STAGES.index("step")
        told = {
            "step": trainer.global_step,
            "epoch": trainer.current_epoch,
            "images": [info.id for info in batch.infos],
        }
        with Path("diary.jsonl").open("a") as file:
            file.write(json.dumps(told) + "\n")

    def on_train_batch_end(self, *args: Any) -> None:
        stage.value = STAGES.index("between")
        steps_of_life.value += 1

    def on_validation_start(self, *args: Any) -> None:
        stage.value = STAGES.index("validation")

    def on_validation_end(self, *args: Any) -> None:
        stage.value = STAGES.index("between")


class TellingIO(AtomicCheckpointIO):
    """Tells when a checkpoint is being written."""

    def save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        before, stage.value = stage.value, STAGES.index("checkpoint")
        super().save_checkpoint(*args, **kwargs)
        stage.value = before


def live(args: list[str]) -> None:
    torch.set_num_threads(1)
    sys.exit(main(args))


def begin(args: list[str]) -> Any:
    stage.value, steps_of_life.value = 0, 0
    life = fork.Process(target=live, args=(args,))
    life.start()
    return life


def kill_at_random(life: Any, chance: random.Random) -> str | None:
    """Kill a life; return what it was doing, None if it had ended."""
    if chance.random() < 0.2:
        # Inside a write, which is short: the first moment of one that comes along.
        while life.is_alive() and stage.value != STAGES.index("checkpoint"):
            time.sleep(0.0005)
        time.sleep(chance.uniform(0, 0.02))
    else:
        steps = chance.randint(0, 5)
        while life.is_alive() and steps_of_life.value < steps:
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.3))
    if not life.is_alive():
        return None
    os.kill(life.pid, signal.SIGKILL)
    doing = STAGES[stage.value]
    life.join()
    return doing


def run(kills: int, seed: int, args: list[str]) -> dict[str, Any]:
    """Kill a run ``kills`` times at random, let it end, and return what it was doing each time."""
    chance, killed = random.Random(seed), []
    while len(killed) < kills:
        doing = kill_at_random(begin(args), chance)
        if doing is None:
            sys.exit(f"the run ended after {len(killed)} of {kills} kills")
        killed.append(doing)
    last = begin(args)
    last.join()
    return {"status": last.exitcode, "killed": killed}


if __name__ == "__main__":
    sys.modules["live_and_die"] = sys.modules["__main__"]  # as the command line names it
    print(json.dumps(run(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])))
