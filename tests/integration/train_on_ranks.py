"""Train the cases of `test_ranks.py` on 1, 2 and 4 gloo ranks; a program of its own.

It forks its ranks, before any table is open, so that torch and Lightning are imported once.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.plugins import DoublePrecision
from lightning.pytorch.strategies import DDPStrategy

from syncsam_lightning.data import PromptableDataModule
from syncsam_lightning.errors import NothingToTrainError
from syncsam_lightning.interaction import TrainingEpisode
from syncsam_lightning.models import SyncSAM
from syncsam_lightning.records import DatasetCard, NamedMask, RawSample
from syncsam_lightning.training.module import InteractiveSegmentation

GLOBAL_BATCH, STEPS, TEST_ROWS = 8, 20, 101
TINY = {"image_size": 64, "vit_width": 32, "vit_depth": 4, "vit_heads": 2, "window_size": 3}

# In float64, where sums over ranks round 1e-16 apart, so that no tolerance hides a wrong gradient.
# The CNN's BatchNorm is frozen: torch can synchronise it on GPUs only.
EXACT: Mapping[str, dict[str, Any]] = {
    "joint": {"episode": {"iterations": 2}},
    "per round": {"episode": {"iterations": 2, "schedule": "per_round"}},
    "accumulated": {"episode": {"iterations": 2}, "accumulate": 2},
    "one box": {"episode": {"iterations": 0, "box_probability": 1.0}},
    "one box, accumulated": {
        "episode": {"iterations": 0, "box_probability": 1.0},
        "accumulate": 2,
    },
}


class Squares(PromptableDataModule):
    """80 rows to train on, 101 to test."""

    card = DatasetCard("Squares", "Made in memory.")
    needs_root = False

    def records(self, root: Path):
        for i in range(80 + TEST_ROWS):
            image = np.random.default_rng(i).integers(0, 99, (64, 48), np.uint8)
            mask = np.zeros((64, 48), bool)
            mask[5 + i % 30 : 25 + i % 30, 10:30] = True
            yield RawSample(
                f"s{i}",
                image + 100 * mask.astype(np.uint8),
                [NamedMask("square", mask)] * (1 + i % 2),
                "ct",
                "squares",
                str(i),
                split="train" if i < 80 else "test",
            )


class Double(DoublePrecision):
    """Weights and arithmetic in float64; batches hold bytes, which stay as they are."""

    def convert_input(self, data: Any) -> Any:
        return data


class Record(pl.Callback):
    """Losses and images of every batch."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.seen: list[list[str]] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.losses.append(float(trainer.callback_metrics["train/loss"]))
        self.seen.append([info.id for info in batch.infos])


def data(folder: Path, batch_size: int) -> Squares:
    return Squares(
        table=f"{folder}/t.lance",
        image_size=64,
        batch_size=batch_size,
        masks_per_image=2,
        num_workers=0,
        val_fraction=0.0,
    )


def task(
    episode: Mapping[str, Any], protocols: Sequence[str] = ("box",), **network: Any
) -> InteractiveSegmentation:
    torch.manual_seed(0)
    given = {"cnn": "resnet18", "frozen": ("cnn", "decoder")} | TINY | network
    options = {"sam_checkpoint": "none", "cnn_weights": "none", "lr": 1e-3}
    return InteractiveSegmentation(
        SyncSAM(**given), TrainingEpisode(**episode), protocols=protocols, **options
    )


def trainer(world: int, folder: Path, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    # Told to search for unused parameters, DDP would hide that there are some.
    limit = timedelta(seconds=120)
    ddp = DDPStrategy(find_unused_parameters=False, process_group_backend="gloo", timeout=limit)
    return pl.Trainer(
        accelerator="cpu",
        devices=world,
        strategy=ddp if world > 1 else "auto",
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=folder,
        callbacks=list(callbacks),
        **options,
    )


def fit(world: int, rank: int, folder: Path) -> None:
    """Train every exact case for 20 steps."""
    for name, case in EXACT.items():
        accumulate, record = case.get("accumulate", 1), Record()
        module = task(case["episode"])
        run = trainer(
            world,
            folder,
            record,
            max_epochs=STEPS * GLOBAL_BATCH // 80,
            accumulate_grad_batches=accumulate,
            plugins=[Double()],
        )
        run.fit(module, data(folder, GLOBAL_BATCH // world // accumulate))
        trained = [p.detach().flatten() for p in module.parameters() if p.requires_grad]
        result = {
            "weights": torch.cat(trained),
            "losses": record.losses,
            "seen": record.seen,
            "steps": run.global_step,
        }
        torch.save(result, folder / f"{name}-{world}-{rank}.pt")


def test(world: int, rank: int, folder: Path) -> None:
    """Score 101 rows, a number that neither 3 nor 2 divides."""
    run = trainer(world, folder / f"test-{world}")
    module = task({}, protocols=["box", "1pt"])
    run.test(module, data(folder, 4), verbose=False)


def step_each(world: int, rank: int, folder: Path, row: dict[str, Any]) -> None:
    """Take two steps with a row of table 5 under every schedule."""
    told: dict[str, Any] = {}
    for schedule in ("joint", "per_round"):
        module = task({"iterations": 2, "schedule": schedule}, **row["network"])
        before = [p.detach().clone() for p in module.parameters()]
        run = trainer(world, folder, max_steps=3 if schedule == "per_round" else 2)
        try:
            run.fit(module, data(folder, 1))
        except NothingToTrainError:
            told[schedule] = "nothing to train"
            continue
        after = list(module.parameters())
        moved = sum(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
        digest = float(sum(p.detach().double().abs().sum() for p in after))
        told[schedule] = [run.global_step, moved, digest]
    Path(folder, f"row{row['row']}-{rank}.json").write_text(json.dumps(told))


def on_ranks(world: int, work: Callable[..., None], *args: Any) -> None:
    """Run something on forked ranks.

    Raises:
        SystemExit: a rank failed.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0"}
    context = multiprocessing.get_context("fork")
    ranks = [
        context.Process(target=_one_rank, args=(world, rank, work, *args)) for rank in range(world)
    ]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    if statuses := [process.exitcode for process in ranks if process.exitcode]:
        sys.exit(f"{work.__name__} on {world} ranks: {statuses}")


def _one_rank(world: int, rank: int, work: Callable[..., None], *args: Any) -> None:
    torch.set_num_threads(1)
    if world > 1:
        os.environ["LOCAL_RANK"] = str(rank)
    work(world, rank, *args)


def main(what: str, folder: Path) -> None:
    if what == "exact":
        for world in (1, 2, 4):
            on_ranks(world, fit, folder)
    elif what == "test":
        for world in (1, 3):
            on_ranks(world, test, folder)
    else:
        for row in json.loads(what):
            on_ranks(
                2, step_each, folder, row
            )  # new ranks each: the last network's memory is freed


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
