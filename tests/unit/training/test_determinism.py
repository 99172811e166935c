"""The same seed gives the same bits."""

import lightning.pytorch as pl
import pytest
import torch

from syncsam_lightning.interaction import TrainingEpisode


@pytest.mark.promise("Numbers: deterministic mode gives bit-equal reruns on the CPU")
@pytest.mark.parametrize("schedule", ["joint", "per_round"])
def test_two_runs_end_with_the_same_bits(discs, task, trainer, tmp_path, schedule):
    def run(seed):
        pl.seed_everything(seed)
        module = task(episode=TrainingEpisode(iterations=2, schedule=schedule))
        options = {"max_steps": 6, "limit_val_batches": 0, "deterministic": True}
        trainer(tmp_path, **options).fit(module, discs())
        return module.network.state_dict()

    try:
        first, second, other = run(1), run(1), run(2)
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
