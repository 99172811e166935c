"""Two gloo ranks train alike and evaluate every row once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROMISE = pytest.mark.promise(
    "Ranks: two ranks hold equal weights and see together what one sees, in float32 too"
)
SCRIPT = """
import json, sys
from pathlib import Path
import lightning.pytorch as pl, numpy as np, torch
from lightning.pytorch.strategies import DDPStrategy
from syncsam_lightning.data import PromptableDataModule
from syncsam_lightning.interaction import PROTOCOLS, TrainingEpisode
from syncsam_lightning.models import SyncSAM
from syncsam_lightning.records import DatasetCard, NamedMask, RawSample
from syncsam_lightning.training.module import InteractiveSegmentation

EVERY_PROTOCOL = list(PROTOCOLS)

class Squares(PromptableDataModule):
    card = DatasetCard("Squares", "Made in memory.")
    needs_root = False
    def records(self, root):
        for i in range(13):
            image = np.random.default_rng(i).integers(0, 99, (64, 48), np.uint8)
            mask = np.zeros((64, 48), bool)
            mask[5 + i : 25 + i, 10:30] = True
            yield RawSample(f"s{i}", image + 100 * mask.astype(np.uint8),
                            [NamedMask("square", mask)] * (1 + i % 2), "ct", "squares", str(i),
                            split="train" if i < 8 else "test")

def main(world, folder):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    data = Squares(table=f"{folder}/t.lance", image_size=64, batch_size=4 // world,
                   masks_per_image=2, num_workers=0, val_fraction=0.0)
    def task(**kwargs):
        net = SyncSAM(cnn="resnet18", image_size=64, vit_width=32, vit_depth=4, vit_heads=2,
                      window_size=3, frozen=("cnn", "decoder"))
        return InteractiveSegmentation(net, TrainingEpisode(iterations=2), sam_checkpoint="none",
                                       cnn_weights="none", lr=1e-3, **kwargs)
    module = task()
    untrained = task(protocols=EVERY_PROTOCOL, eval_seeds=[0, 1])
    strategy = DDPStrategy(find_unused_parameters=False, process_group_backend="gloo")
    seen = []
    class Record(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            seen.append([i.id for i in batch.infos])
    trainer = pl.Trainer(accelerator="cpu", devices=world,
                         strategy=strategy if world > 1 else "auto",
                         max_epochs=3, logger=False, enable_progress_bar=False,
                         enable_checkpointing=False, enable_model_summary=False,
                         use_distributed_sampler=False, default_root_dir=folder,
                         callbacks=[Record()])
    # Weights that are the same on any number of ranks: trained ones are only nearly so.
    trainer.test(untrained, data, verbose=False)
    if trainer.is_global_zero:
        Path(folder, "test").rename(Path(folder, f"untrained-{world}"))
    trainer.fit(module, data)
    trained = module.network.parameters()
    weights = torch.cat([p.detach().flatten() for p in trained if p.requires_grad])
    torch.save(weights, f"{folder}/weights-{world}-{trainer.global_rank}.pt")
    (means,) = trainer.test(module, data, verbose=False)
    Path(f"{folder}/result-{world}-{trainer.global_rank}.json").write_text(
        json.dumps({"means": means, "seen": seen}))

if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ddp")
    script = folder / "run.py"
    script.write_text(SCRIPT)
    for world in ("1", "2"):
        done = subprocess.run(
            [sys.executable, str(script), world, str(folder)],
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
    return folder


def result(folder: Path, world: int, rank: int):
    return json.loads((folder / f"result-{world}-{rank}.json").read_text())


@PROMISE
def test_ranks_hold_equal_weights_which_equal_those_of_one_rank(runs):
    import torch

    one, left, right = (torch.load(runs / f"weights-{n}.pt") for n in ("1-0", "2-0", "2-1"))
    assert torch.equal(left, right)
    # Means over ranks round differently. Adam makes a whole step (1e-3) of the sign of a gradient
    # that is all rounding, which of a million weights one or two have.
    apart = (one - left).abs().sort().values
    assert apart[int(0.9999 * len(apart))] < 1e-5
    assert apart[-1] < 6e-3  # the steps that were taken


@PROMISE
def test_two_ranks_see_together_what_one_sees(runs):
    alone = [set(batch) for batch in result(runs, 1, 0)["seen"]]
    halves = zip(result(runs, 2, 0)["seen"], result(runs, 2, 1)["seen"], strict=True)
    assert [set(left) | set(right) for left, right in halves] == alone


@pytest.mark.promise("Ranks: evaluation scores every row once on any number of ranks")
def test_an_odd_number_of_rows_is_scored_once_on_two_ranks(runs):
    import pyarrow.parquet as pq

    rows = pq.read_table(runs / "test" / "scores.parquet").to_pylist()
    keys = [(r["protocol"], r["image_id"], r["mask_id"]) for r in rows]
    assert len(set(keys)) == len(keys) == 3 * (1 + 2 + 1 + 2 + 1)
    means = result(runs, 2, 0)["means"]
    box = [r["dice"] for r in rows if r["protocol"] == "box"]
    assert means["test/dice_box"] == pytest.approx(sum(box) / len(box), abs=1e-6)
    assert means == result(runs, 2, 1)["means"]


@pytest.mark.promise("Ranks: evaluation scores every row once on any number of ranks")
def test_scores_prompts_and_summary_are_the_same_on_one_and_two_ranks(runs):
    import pyarrow.parquet as pq

    one, two = runs / "untrained-1", runs / "untrained-2"
    for name in ("scores", "prompts"):
        left, right = (pq.read_table(folder / f"{name}.parquet") for folder in (one, two))
        assert left.num_rows
        assert left.equals(right), name
    assert {row["protocol"] for row in pq.read_table(one / "scores.parquet").to_pylist()} == {
        *("box", "1pt", "5pts"),
        *("sammed2d-box", "sammed2d-1pt", "sammed2d-5pts"),
        *("imis-box", "imis-1pt", "imis-5pts"),
    }
    for name in ("summary.json", "report.md"):
        assert (one / name).read_text() == (two / name).read_text(), name
