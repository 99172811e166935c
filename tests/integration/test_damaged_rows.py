"""Two ranks go on and end together, whatever rows one of them loses."""

import json
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

SCRIPT = """
import json, sys
from pathlib import Path
import lightning.pytorch as pl, numpy as np, torch
from lightning.pytorch.strategies import DDPStrategy
from syncsam_lightning.data import PromptableDataModule
from syncsam_lightning.data.table import Table
from syncsam_lightning.errors import TableError
from syncsam_lightning.interaction import TrainingEpisode
from syncsam_lightning.models import SyncSAM
from syncsam_lightning.records import DatasetCard, NamedMask, RawSample
from syncsam_lightning.training.callbacks import damage
from syncsam_lightning.training.module import InteractiveSegmentation

LOST = [0, 1, 2, 8]  # of 8 rows to train and 3 to test

class Squares(PromptableDataModule):
    card = DatasetCard("Squares", "Made in memory.")
    needs_root = False
    def records(self, root):
        for i in range(11):
            image = np.random.default_rng(i).integers(0, 99, (64, 48), np.uint8)
            mask = np.zeros((64, 48), bool)
            mask[5 + i : 25 + i, 10:30] = True
            yield RawSample(f"s{i:02d}", image, [NamedMask("square", mask)], "ct", "squares",
                            str(i), split="train" if i < 8 else "test")

def destroy(table):
    rows = {row.id: row for row in table.rows(range(len(table)))}
    for file in (table.path / "data").iterdir():
        content = bytearray(file.read_bytes())
        for i in LOST:
            frame = rows[f"s{i:02d}"].image_frame
            if (begin := content.find(frame)) >= 0:
                content[begin + len(frame) // 2] ^= 1
        file.write_bytes(content)

def main(world, folder):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    # One row a rank and step: a rank that loses it has nothing of its own left.
    data = Squares(table=f"{folder}/t.lance", image_size=64, batch_size=2 // world,
                   masks_per_image=2, num_workers=0, val_fraction=0.0)
    net = SyncSAM(cnn="resnet18", image_size=64, vit_width=32, vit_depth=4, vit_heads=2,
                  window_size=3, frozen=("cnn", "decoder"))
    module = InteractiveSegmentation(net, TrainingEpisode(iterations=1), sam_checkpoint="none",
                                     cnn_weights="none", lr=1e-3, protocols=["box"])
    def trainer():
        strategy = DDPStrategy(find_unused_parameters=False, process_group_backend="gloo")
        return pl.Trainer(accelerator="cpu", devices=world, max_epochs=2, logger=False,
                          strategy=strategy if world > 1 else "auto", enable_progress_bar=False,
                          enable_checkpointing=False, enable_model_summary=False,
                          use_distributed_sampler=False, default_root_dir=folder)
    run = trainer()
    run.fit(module, data)
    rank = run.global_rank
    count = float(run.callback_metrics["train/damaged_rows"])
    weights = torch.cat([p.detach().flatten() for p in net.parameters() if p.requires_grad])
    run.test(module, data, verbose=False)
    if run.is_global_zero:
        Path(folder, "test").rename(Path(folder, f"test-{world}"))
    damage._ALWAYS_ALLOWED = 2
    try:
        trainer().fit(module, data)
        ended = ""
    except TableError as error:
        ended = str(error)
    Path(f"{folder}/{world}-{rank}.json").write_text(json.dumps(
        {"count": count, "ended": ended, "steps": run.global_step, "sum": weights.sum().item()}))

if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        data = Squares(table=f"{sys.argv[2]}/t.lance", image_size=64, val_fraction=0.0)
        data.prepare_data()
        destroy(Table(f"{sys.argv[2]}/t.lance"))
    else:
        main(int(sys.argv[1]), sys.argv[2])
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    script = folder / "run.py"
    script.write_text(SCRIPT)
    for task in ("prepare", "1", "2"):
        done = subprocess.run(
            [sys.executable, str(script), task, str(folder)],
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
    return folder


def told(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


@pytest.mark.promise(
    "Input: damage to a row of a table is noticed, the row is named and the others are used"
)
def test_every_rank_steps_as_often_as_without_damage(runs):
    assert [told(runs, name)["steps"] for name in ("1-0", "2-0", "2-1")] == [8, 8, 8]
    assert told(runs, "2-0")["sum"] == told(runs, "2-1")["sum"]


def test_all_ranks_know_how_many_rows_are_lost(runs):
    assert [told(runs, name)["count"] for name in ("1-0", "2-0", "2-1")] == [3, 3, 3]


def test_all_ranks_end_together_when_it_is_too_many(runs):
    for name in ("1-0", "2-0", "2-1"):
        assert told(runs, name)["ended"].startswith("3 rows of the train split are damaged, which")


def test_the_report_names_the_row_once_and_the_others_are_scored(runs):
    for folder in (runs / "test-1", runs / "test-2"):
        (reason,) = json.loads((folder / "summary.json").read_text())["not_scored"]
        assert "(image s08) is damaged" in reason
        scored = pq.read_table(folder / "scores.parquet")["image_id"].to_pylist()
        assert scored == ["s09", "s10"]
