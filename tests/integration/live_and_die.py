"""Run `syncsam` many times over, killing it; a program of its own, for `test_kills.py`.

It forks each life, before any table is open, so that torch and Lightning are imported once. What a
life was doing when it was killed is read, once it is dead, from memory shared with it.
"""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import random
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import torch._dynamo  # by the first optimiser's step; imported once, for all
import torch.utils.tensorboard  # by the logger; likewise
from lightning.pytorch.plugins import DoublePrecision

from syncsam_lightning.cli.lightning_cli import SyncSAMCLI  # noqa: F401  imported once, for all
from syncsam_lightning.cli.main import main
from syncsam_lightning.data.plugins import load_datamodules
from syncsam_lightning.training.checkpoint import AtomicCheckpointIO

STAGES = ("start", "step", "validation", "checkpoint", "between")
# How long after a stage has begun its kill comes, at most: about as long as the stage takes.
SECONDS = {"step": 0.2, "validation": 0.1, "checkpoint": 0.02, "anywhere": 0.3}
fork = multiprocessing.get_context("fork")
life_number = fork.Value(ctypes.c_int, 0)
stage, steps_of_life = fork.Value(ctypes.c_int, 0), fork.Value(ctypes.c_int, 0)


class Diary(pl.Callback):
    """Writes what each step saw and each validation found, and tells what is going on."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        if trainer.is_global_zero:
            stage.value = STAGES.index("step")
        self._write(
            "steps.jsonl",
            step=trainer.global_step,
            epoch=trainer.current_epoch,
            images=[info.id for info in batch.infos],
        )

    def on_train_batch_end(self, trainer, *args: Any) -> None:
        if trainer.is_global_zero:
            stage.value = STAGES.index("between")
            steps_of_life.value += 1

    def on_validation_start(self, trainer, pl_module) -> None:
        if trainer.is_global_zero and not trainer.sanity_checking:
            stage.value = STAGES.index("validation")

    def on_validation_end(self, trainer, pl_module) -> None:
        if trainer.is_global_zero and not trainer.sanity_checking:
            dice = float(trainer.callback_metrics["val/dice"])
            self._write("validations.jsonl", step=trainer.global_step, dice=dice)
            stage.value = STAGES.index("between")

    @staticmethod
    def _write(name: str, **told: Any) -> None:
        with Path(name).open("a") as file:
            file.write(json.dumps({"life": life_number.value, **told}) + "\n")


class TellingIO(AtomicCheckpointIO):
    """Tells when a checkpoint is being written, which rank 0 does."""

    def save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        before, stage.value = stage.value, STAGES.index("checkpoint")
        super().save_checkpoint(*args, **kwargs)
        stage.value = before


class Double(DoublePrecision):
    """Weights and arithmetic in float64; batches hold bytes, which stay as they are."""

    def convert_input(self, data: Any) -> Any:
        return data


def one_rank(args: list[str], world: int, rank: int) -> None:
    torch.set_num_threads(1)
    if world > 1:
        os.environ["LOCAL_RANK"] = str(rank)
    sys.exit(main(args))


def begin(args: list[str], world: int) -> list[Any]:
    life_number.value += 1
    stage.value, steps_of_life.value = 0, 0
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0"}
    ranks = [fork.Process(target=one_rank, args=(args, world, rank)) for rank in range(world)]
    for rank in ranks:
        rank.start()
    return ranks


def kill(ranks: list[Any], aim: str, least: int, chance: random.Random) -> str | None:
    """Kill a life about when it does what is aimed at, after ``least`` steps of its own.

    Returns:
        what it was doing; None if it had ended.
    """
    steps = chance.randint(0, 5)

    def is_reached() -> bool:
        if aim == "anywhere":
            return steps_of_life.value >= steps
        return steps_of_life.value >= least and STAGES[stage.value] == aim

    while ranks[0].is_alive() and not is_reached():
        time.sleep(0.001)
    time.sleep(chance.uniform(0, SECONDS[aim]))
    for rank in ranks:
        rank.kill()
    for rank in ranks:
        rank.join()
    return STAGES[stage.value] if ranks[0].exitcode == -signal.SIGKILL else None


def run(lives: list[dict[str, Any]], seed: int, args: list[str]) -> dict[str, Any]:
    """Live and die as told; a life with nothing to aim at may live to its end.

    Args:
        lives: each with ``aim`` (None: let it live), ``world``, further ``args`` and, if need be,
            ``least``.
        seed: of the moments.
        args: of every life.

    Returns:
        what each life was doing when it was killed, and the statuses of the last.
    """
    load_datamodules()
    chance, killed = random.Random(seed), []
    for life in lives:
        ranks = begin([*args, *life["args"]], life["world"])
        if life["aim"] is None:
            for rank in ranks:
                rank.join()
            continue
        doing = kill(ranks, life["aim"], life.get("least", 0), chance)
        if doing is None:
            sys.exit(f"the run ended after {len(killed)} of {len(lives) - 1} kills")
        killed.append(doing)
    return {"killed": killed, "statuses": [rank.exitcode for rank in ranks]}


if __name__ == "__main__":
    sys.modules["live_and_die"] = sys.modules["__main__"]  # as the command line names it
    print(json.dumps(run(json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])))
