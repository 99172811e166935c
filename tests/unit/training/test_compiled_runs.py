"""Runs that are compiled by inductor, torch's own backend: resumed either way, and on two ranks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch._dynamo.testing import CompileCounter
from torch._dynamo.utils import counters

from syncsam_lightning.interaction import TrainingEpisode
from syncsam_lightning.prompts import Prompts

ROOT = Path(__file__).parents[3]
BOX = TrainingEpisode(iterations=0, box_probability=1.0)
HALF, WHOLE = 2, 4  # steps of a run that is broken off, and of a whole one

TWO_RANKS = """
import sys
import lightning.pytorch as pl, torch
from lightning.pytorch.strategies import DDPStrategy
from syncsam_lightning.interaction import TrainingEpisode
from syncsam_lightning.models import SyncSAM
from syncsam_lightning.training.module import InteractiveSegmentation
from tests.integration.train_on_ranks import TINY, Squares

backend, folder = sys.argv[1:]
torch.manual_seed(0)
torch.set_num_threads(1)
module = InteractiveSegmentation(
    SyncSAM(cnn="resnet18", frozen=("cnn", "decoder"), **TINY),
    TrainingEpisode(iterations=0, box_probability=1.0),
    sam_checkpoint="none", cnn_weights="none", compile=backend,
)
data = Squares(table=f"{folder}/t.lance", image_size=64, batch_size=2, masks_per_image=2,
               num_workers=0, val_fraction=0.0)
trainer = pl.Trainer(accelerator="cpu", devices=2, max_steps=3, logger=False,
                     strategy=DDPStrategy(process_group_backend="gloo"), limit_val_batches=0,
                     enable_progress_bar=False, enable_checkpointing=False,
                     enable_model_summary=False, use_distributed_sampler=False,
                     default_root_dir=folder)
trainer.fit(module, data)
assert ("encode" in vars(module.network)) == (backend != "none")
trained = [p.detach().flatten() for p in module.network.parameters() if p.requires_grad]
torch.save(torch.cat(trained), f"{folder}/{backend}-{trainer.global_rank}.pt")
"""


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def fit(task, discs, trainer, folder, *, steps, backend, ckpt_path=None):
    torch.manual_seed(0)
    module = task(episode=BOX, compile=backend)
    run = trainer(folder, max_steps=steps, limit_val_batches=0)
    run.fit(module, discs(), ckpt_path=ckpt_path, weights_only=True)
    assert run.global_step == steps
    run.save_checkpoint(folder / f"{backend}-{steps}.ckpt")
    return folder / f"{backend}-{steps}.ckpt"


def state(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


@pytest.mark.slow
def test_a_compiled_run_goes_on_uncompiled_and_the_other_way_round(task, discs, trainer, tmp_path):
    ends = {}
    for first, then in (("inductor", "none"), ("none", "inductor")):
        begun = fit(task, discs, trainer, tmp_path, steps=HALF, backend=first)
        ends[first] = state(
            fit(task, discs, trainer, tmp_path, steps=WHOLE, backend=then, ckpt_path=begun)
        )
    assert counters["stats"]["unique_graphs"] >= 2
    assert not counters["graph_break"], dict(counters["graph_break"])
    one, other = ends.values()
    assert list(one) == list(other)
    assert not [key for key in one if "_orig_mod" in key]
    # As a whole: Adam divides by the size of a gradient, so that where it is almost zero its sign,
    # and with it the step, is rounding.
    apart, moved = (
        sum((one[key] - ends[key]).square().sum() for key in one if one[key].is_floating_point())
        for ends in (other, state(begun))
    )
    assert apart < 0.01 * moved


@pytest.mark.slow
def test_two_compiled_ranks_train_as_two_that_are_not(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(TWO_RANKS)
    for backend in ("none", "inductor"):
        done = subprocess.run(
            [sys.executable, str(script), backend, str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=1500,
            check=False,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        assert done.returncode == 0, done.stderr[-3000:]
    plain, left, right = (
        torch.load(tmp_path / f"{name}.pt", weights_only=True)
        for name in ("none-0", "inductor-0", "inductor-1")
    )
    assert torch.equal(left, right)
    torch.testing.assert_close(left, plain, rtol=0, atol=3 * 1e-4)


@pytest.mark.slow
def test_a_second_epoch_and_smaller_batches_compile_nothing_new(task, discs, trainer, tmp_path):
    module = task(episode=BOX, compile="eager", protocols=("box",))
    run, data = trainer(tmp_path, max_epochs=1), discs()
    run.fit(module, data)
    run.test(module, data, verbose=False)
    compiled = counters["stats"]["unique_graphs"]
    # 11 rows to train on in batches of 2, 3 to test: each ends in a batch of one.
    run.fit_loop.max_epochs = 2
    run.fit(module, data)
    run.test(module, data, verbose=False)
    assert counters["stats"]["unique_graphs"] == compiled
    assert not counters["graph_break"], dict(counters["graph_break"])


@pytest.mark.slow
def test_numbers_of_images_and_objects_become_variables(task):
    network = task().network.eval()
    counter = CompileCounter()
    network.compile_parts(backend=counter)
    seen = []
    with torch.no_grad():
        for images, objects in ((4, 5), (2, 3), (3, 7), (5, 4), (6, 2)):
            features = network.encode(torch.zeros(images, 3, 64, 64))
            boxes = torch.tensor([[3.0, 5, 20, 60]]).repeat(objects, 1)
            network.decode(features, Prompts(torch.arange(objects) % images, boxes=boxes))
            seen.append(counter.frame_count)
    # A program of each for the first numbers, one for any: the third batch needs nothing new.
    assert seen[1:] == [4] * 4, seen
