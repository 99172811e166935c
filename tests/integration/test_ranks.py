"""Any number of ranks trains the same weights and scores the same rows."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from syncsam_lightning.cli.catalog import config_folder

SCRIPT = Path(__file__).with_name("train_on_ranks.py")

# Measured: 2e-13. Means over ranks add up in another order, and float64 rounds at 1e-16; Adam's
# division by small gradients enlarges that. In float32 the same differences are around 1e-4.
TOLERANCE = 1e-10
LOSS_TOLERANCE = 1e-5  # of losses around 18, which are logged in float32


def run(what: str, folder: Path) -> Path:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), what, str(folder)],
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run("exact", tmp_path_factory.mktemp("exact"))


def results(folder: Path, case: str, world: int) -> list[dict[str, Any]]:
    return [torch.load(folder / f"{case}-{world}-{rank}.pt") for rank in range(world)]


@pytest.mark.slow
@pytest.mark.promise(
    "Ranks: DDP on 2 and 4 ranks gives the losses and the weights of one rank over 20 steps"
)
@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("case", ["joint", "per round", "accumulated"])
def test_many_ranks_train_the_losses_and_weights_of_one(exact: Path, case: str, world: int):
    (one,), many = results(exact, case, 1), results(exact, case, world)
    assert one["steps"] == (60 if case == "per round" else 20)
    for rank in many:
        assert torch.equal(rank["weights"], many[0]["weights"])
    assert (one["weights"] - many[0]["weights"]).abs().max() < TOLERANCE
    losses = torch.tensor([rank["losses"] for rank in many], dtype=torch.float64).mean(0)
    expected = torch.tensor(one["losses"], dtype=torch.float64)
    assert torch.allclose(losses, expected, rtol=0, atol=LOSS_TOLERANCE)
    assert expected[-1] < expected[0] / 2
    for whole, *shares in zip(one["seen"], *(rank["seen"] for rank in many), strict=True):
        assert sorted(whole) == sorted(image for share in shares for image in share)


@pytest.mark.slow
@pytest.mark.promise("Ranks: accumulated gradients are those of one large batch")
@pytest.mark.parametrize("world", [1, 2, 4])
def test_accumulation_equals_one_large_batch(exact: Path, world: int):
    whole = results(exact, "one box", world)[0]
    parts = results(exact, "one box, accumulated", world)[0]
    assert whole["steps"] == parts["steps"] == 20
    assert (whole["weights"] - parts["weights"]).abs().max() < TOLERANCE


def rows_of_table_5() -> list[dict[str, Any]]:
    with (config_folder() / "ablations" / "table5.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        {
            "row": int(row["row"]),
            "network": {
                "cnn": row["cnn"],
                "vit": row["vit"],
                "med_token": row["med_token"] == "true",
                "multi_scale": row["multi_scale"] == "true",
                "frozen": row["frozen"].split(),
            }
            | ({} if row["fusion"] == "none" else {"fusion": row["fusion"]}),
        }
        for row in rows
    ]


@pytest.mark.slow
@pytest.mark.promise(
    "Ranks: every schedule and every ablation trains under DDP without find_unused_parameters"
)
def test_every_ablation_steps_under_every_schedule(tmp_path: Path):
    rows = rows_of_table_5()
    run(json.dumps(rows), tmp_path)
    assert [row["row"] for row in rows] == list(range(1, 13))
    for row in (row["row"] for row in rows):
        left, right = (
            json.loads((tmp_path / f"row{row}-{rank}.json").read_text()) for rank in "01"
        )
        assert left == right  # parameters too: BatchNorm's buffers alone differ without a GPU
        assert left.keys() == {"joint", "per_round"}
        for schedule, told in left.items():
            if row == 1:
                assert told == "nothing to train"
                continue
            steps, moved, _ = told
            assert steps == (3 if schedule == "per_round" else 2), (row, schedule)
            assert moved > 0, (row, schedule)


@pytest.mark.promise("Ranks: 101 rows on 3 ranks give 101 images' scores, those of one rank")
def test_101_rows_on_3_ranks_are_scored_as_on_one(tmp_path: Path):
    run("test", tmp_path)
    one, three = (pq.read_table(tmp_path / f"test-{n}/test/scores.parquet") for n in (1, 3))
    assert one.equals(three)
    rows = [(row["protocol"], row["image_id"], row["mask_id"]) for row in three.to_pylist()]
    assert len(set(rows)) == len(rows)
    assert len({image for _, image, _ in rows}) == 101
    means = [(tmp_path / f"test-{n}/test/summary.json").read_text() for n in (1, 3)]
    assert means[0] == means[1]
