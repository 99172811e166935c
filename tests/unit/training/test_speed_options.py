"""Precision and compiling: options of a run that change neither names nor results by much."""

from __future__ import annotations

import lightning.pytorch as pl
import pytest
import torch

from syncsam_lightning.interaction import TrainingEpisode
from syncsam_lightning.losses import PromptLoss
from syncsam_lightning.prompts import Prompts

BOX = TrainingEpisode(iterations=1, box_probability=1.0)


class Losses(pl.Callback):
    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.seen.append(outputs["loss"])


def fit(task, discs, trainer, folder, *, steps=4, precision="32-true", **options):
    torch.manual_seed(0)
    module, losses = task(episode=BOX, **options), Losses()
    run = trainer(
        folder, max_steps=steps, limit_val_batches=0, precision=precision, callbacks=[losses]
    )
    run.fit(module, discs())
    return run, module, torch.stack(losses.seen)


def test_training_in_bfloat16_follows_float32_with_the_loss_in_float32(
    task, discs, trainer, tmp_path
):
    _, _, exact = fit(task, discs, trainer, tmp_path)
    _, module, half = fit(task, discs, trainer, tmp_path, precision="bf16-mixed")
    assert half.dtype == torch.float32
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    assert not torch.equal(half, exact)
    torch.testing.assert_close(half, exact, rtol=0.05, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_step_in_half_precision_has_finite_gradients_near_those_of_float32(task, dtype):
    torch.manual_seed(0)
    network = task().network.train()
    images = torch.randint(0, 256, (2, 3, 64, 64))
    prompts = Prompts(torch.tensor([0, 1]), boxes=torch.tensor([[5.0, 5, 40, 40], [9, 3, 60, 50]]))
    truth = torch.zeros(2, 64, 64, dtype=torch.bool)
    truth[:, 10:35, 10:35] = True
    gradients = []
    for enabled in (False, True):
        network.zero_grad()
        with torch.autocast("cpu", dtype, enabled=enabled):
            logits = network.decode(network.encode(images), prompts)
            loss = PromptLoss()(logits, truth)
        assert logits.dtype == (dtype if enabled else torch.float32)
        assert loss.dtype == torch.float32
        loss.backward()
        found = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
        gradients.append(torch.cat(found))
    exact, half = gradients
    assert torch.isfinite(half).all()
    assert torch.cosine_similarity(exact, half, dim=0) > 0.9


def test_a_compiled_run_trains_alike_and_its_checkpoint_serves_a_plain_one(
    task, discs, trainer, tmp_path
):
    _, _, plain = fit(task, discs, trainer, tmp_path, steps=2)
    run, module, compiled = fit(task, discs, trainer, tmp_path, steps=2, compile="eager")
    torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-5)
    assert "encode" in vars(module.network)
    run.save_checkpoint(tmp_path / "x.ckpt")
    state = torch.load(tmp_path / "x.ckpt", weights_only=True)["state_dict"]
    assert not [key for key in state if "_orig_mod" in key]
    fresh = task()
    trainer(tmp_path).test(fresh, discs(), ckpt_path=tmp_path / "x.ckpt", weights_only=True)
    for key, value in module.network.state_dict().items():
        assert torch.equal(value, fresh.network.state_dict()[key]), key


def test_an_unknown_backend_is_refused(task):
    with pytest.raises(ValueError, match="compile: unknown backend 'indcutor'; choose from none"):
        task(compile="indcutor")
