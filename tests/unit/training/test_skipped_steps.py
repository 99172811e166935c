"""A run goes on without the steps that are not finite, up to a count."""

import re
from dataclasses import replace

import lightning.pytorch as pl
import pytest
import torch

from syncsam_lightning.errors import NonFiniteLossError
from syncsam_lightning.interaction import TrainingEpisode


def copy_of(module):
    return {key: value.clone() for key, value in module.network.state_dict().items()}


class BadLoss(torch.nn.Module):
    """Is not a number in some of its calls; counted from 0."""

    def __init__(self, loss, bad):
        super().__init__()
        self.loss, self.bad, self.calls = loss, bad, 0

    def terms(self, logits, truth, predicted_iou=None):
        terms = self.loss.terms(logits, truth, predicted_iou)
        factor = float("nan") if self.calls in self.bad else 1.0
        self.calls += 1
        return replace(terms, total=terms.total * factor)


class States(pl.Callback):
    """Keeps the weights before the first and after every step."""

    def __init__(self):
        self.states = []

    def on_train_start(self, trainer, pl_module):
        self.states.append(copy_of(pl_module))

    def on_train_batch_end(self, trainer, pl_module, *args):
        self.states.append(copy_of(pl_module))


def are_equal(one, other):
    return all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.promise("Numbers: a step that is not finite is skipped, its images are named")
@pytest.mark.parametrize("schedule", ["joint", "per_round"])
def test_a_step_that_is_not_finite_is_skipped_and_names_its_images(
    discs, task, trainer, tmp_path, caplog, schedule
):
    module = task(episode=TrainingEpisode(iterations=2, schedule=schedule))
    module.loss = BadLoss(module.loss, bad={3, 4, 5})  # the three rounds of the second batch
    watch = States()
    trainer(
        tmp_path, max_epochs=1, limit_train_batches=3, limit_val_batches=0, callbacks=[watch]
    ).fit(module, discs())
    start, first, second, third = watch.states
    assert not are_equal(start, first)
    assert are_equal(first, second)  # BatchNorm's statistics too
    assert not are_equal(second, third)
    assert all(torch.isfinite(value).all() for value in third.values())
    told = [record.message for record in caplog.records if "not finite (loss nan" in record.message]
    assert len(told) == (1 if schedule == "joint" else 3)
    assert all(re.search(r"on images disc-\d+, disc-\d+; the step is skipped", t) for t in told)


@pytest.mark.promise("Numbers: past a set count of steps that are not finite the run stops")
def test_a_run_with_many_steps_that_are_not_finite_ends(discs, task, trainer, tmp_path):
    module = task(max_skipped_steps=2)
    module.loss = BadLoss(module.loss, bad=range(3, 1000))
    with pytest.raises(NonFiniteLossError, match=r"step 3: .* on images disc-.* 3\. bad step"):
        trainer(tmp_path, max_epochs=2, limit_val_batches=0).fit(module, discs())
    assert all(torch.isfinite(p).all() for p in module.network.parameters())


@pytest.mark.promise("Numbers: past a set count of steps that are not finite the run stops")
def test_a_restart_does_not_begin_the_count_of_bad_steps_anew(discs, task, trainer, tmp_path):
    def run(bad, steps, checkpoint=None):
        module = task(max_skipped_steps=2)
        module.loss = BadLoss(module.loss, bad=bad)
        pilot = trainer(tmp_path, max_steps=steps, limit_val_batches=0)
        pilot.fit(module, discs(), ckpt_path=checkpoint)
        pilot.save_checkpoint(tmp_path / "a.ckpt", weights_only=False)

    run(bad=range(6), steps=2)  # two steps of three rounds each
    with pytest.raises(NonFiniteLossError, match=r"step 2: .* 3\. bad step"):
        run(bad=range(3), steps=3, checkpoint=tmp_path / "a.ckpt")
