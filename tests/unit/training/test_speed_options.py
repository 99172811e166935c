"""Precision and compiling: options of a run that change neither names nor results by much."""

from __future__ import annotations

import logging

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision

from syncsam_lightning.interaction import TrainingEpisode
from syncsam_lightning.losses import PromptLoss
from syncsam_lightning.prompts import Prompts
from syncsam_lightning.training.checkpoint import AtomicCheckpointIO
from syncsam_lightning.training.speed import check_precision

BOX = TrainingEpisode(iterations=1, box_probability=1.0)


@pytest.mark.parametrize("name", [None, 32, "32-true", "bf16-mixed", "bf16", "16-mixed", 16])
def test_precisions_that_leave_the_weights_in_float32_are_taken(name: object):
    check_precision(name)


class Losses(pl.Callback):
    """Keeps the loss of every step, and the weights before the first one."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []
        self.weights: dict[str, torch.Tensor] = {}

    def on_train_start(self, trainer, pl_module):
        self.weights = {name: p.detach().clone() for name, p in pl_module.named_parameters()}

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if pl_module.automatic_optimization:
            self.seen.append(outputs["loss"])


def half(scale=2.0**16):
    """Lightning's fp16, on a CPU, where it would take bfloat16 if asked by name."""
    return MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=scale))


def fit(task, discs, trainer, folder, *, steps=4, precision="32-true", episode=BOX, **options):
    """Train; ``precision`` is a name of Lightning's or a plugin."""
    torch.manual_seed(0)
    module, losses = task(episode=episode, **options), Losses()
    asked = {"precision": precision} if isinstance(precision, str) else {}
    plugins = [AtomicCheckpointIO()] + ([] if asked else [precision])
    run = trainer(
        folder, max_steps=steps, limit_val_batches=0, callbacks=[losses], plugins=plugins, **asked
    )
    run.fit(module, discs())
    return run, module, losses


def test_training_in_bfloat16_follows_float32_with_the_loss_in_float32(
    task, discs, trainer, tmp_path
):
    # A larger step makes float32 differ from itself by 5 % where sums are taken in another order.
    small = {"lr": 1e-5}
    exact = torch.stack(fit(task, discs, trainer, tmp_path, **small)[2].seen)
    _, module, losses = fit(task, discs, trainer, tmp_path, precision="bf16-mixed", **small)
    half = torch.stack(losses.seen)
    assert half.dtype == torch.float32
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    assert not torch.equal(half, exact)
    torch.testing.assert_close(half, exact, rtol=0.03, atol=0)


def test_lightning_has_no_fp16_on_a_cpu_and_says_so(trainer, tmp_path):
    with pytest.warns(UserWarning, match="AMP with fp16 is not supported on CPU. Using `precision"):
        run = trainer(tmp_path, precision="16-mixed")
    assert run.precision == "bf16-mixed"


@pytest.mark.parametrize("schedule", ["joint", "per_round"])
def test_fp16_steps_with_gradients_that_were_scaled_back(task, discs, trainer, tmp_path, schedule):
    episode = TrainingEpisode(iterations=1, box_probability=1.0, schedule=schedule)
    seen = []

    class Norms(pl.Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            found = [p.grad for p in pl_module.parameters() if p.grad is not None]
            seen.append(torch.cat([gradient.flatten() for gradient in found]).norm())

    norms = {}
    for precision in ("32-true", half(scale=64.0)):
        seen.clear()
        torch.manual_seed(0)
        asked = {"precision": precision} if isinstance(precision, str) else {}
        run = trainer(
            tmp_path,
            max_steps=1,
            limit_val_batches=0,
            callbacks=[Norms()],
            plugins=[AtomicCheckpointIO()] + ([] if asked else [precision]),
            **asked,
        )
        run.fit(task(episode=episode), discs())
        norms[str(precision)] = torch.stack(seen[:1])
    exact, scaled = norms.values()
    torch.testing.assert_close(scaled, exact, rtol=0.1, atol=0)


@pytest.mark.parametrize("schedule", ["joint", "per_round"])
def test_a_scale_that_overflows_is_halved_and_no_weight_moves(
    task, discs, trainer, tmp_path, schedule, caplog
):
    episode = TrainingEpisode(iterations=1, box_probability=1.0, schedule=schedule)
    precision = half(scale=2.0**60)
    with caplog.at_level(logging.WARNING):
        _, module, before = fit(
            task, discs, trainer, tmp_path, steps=1, precision=precision, episode=episode
        )
    assert precision.scaler.is_enabled()
    assert precision.scaler.get_scale() < 2.0**60
    assert "the gradients are not finite" in caplog.text
    for name, parameter in module.named_parameters():
        assert torch.equal(parameter, before.weights[name]), name


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
    torch.testing.assert_close(compiled.seen, plain.seen, rtol=1e-4, atol=1e-5)
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


# What a GPU would use


@pytest.mark.parametrize(("precision", "fused"), [("32-true", True), ("bf16-mixed", True)])
def test_adam_is_fused(task, discs, trainer, tmp_path, precision, fused):
    run, _, _ = fit(task, discs, trainer, tmp_path, steps=1, precision=precision)
    assert run.optimizers[0].defaults["fused"] is fused


def test_adam_is_not_fused_in_fp16_whose_gradients_could_not_be_clipped(
    task, discs, trainer, tmp_path
):
    run, _, _ = fit(task, discs, trainer, tmp_path, steps=1, precision=half())
    assert run.optimizers[0].defaults["fused"] is False


@pytest.fixture
def matmul_precision():
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(
    ("asked", "found"), [("unchanged", "medium"), ("high", "high"), ("highest", "highest")]
)
def test_tf32_is_an_option(task, discs, trainer, tmp_path, matmul_precision, asked, found):
    torch.set_float32_matmul_precision("medium")
    trainer(tmp_path).validate(task(matmul_precision=asked), discs(), verbose=False)
    assert torch.get_float32_matmul_precision() == found


def test_an_unknown_matmul_precision_is_refused(task):
    with pytest.raises(ValueError, match="matmul_precision: unknown value 'tf32'; choose from"):
        task(matmul_precision="tf32")


@pytest.mark.slow
def test_thirty_steps_fall_alike_in_every_precision(task, discs, trainer, tmp_path):
    # Without the CNN: convolutions in fp16 take a CPU seconds each.
    model = {"cnn": "none", "vit": "trained"}
    ends = {}
    for name, precision in {
        "32-true": "32-true",
        "bf16-mixed": "bf16-mixed",
        "16-mixed": half(scale=2.0**10),
    }.items():
        run, _, kept = fit(task, discs, trainer, tmp_path, steps=30, precision=precision, **model)
        losses = torch.stack(kept.seen)
        assert run.precision == name
        assert losses.dtype == torch.float32, name
        # Batches differ, so that a single loss says little.
        ends[name] = losses[-5:].mean()
        assert ends[name] < 0.9 * losses[:5].mean(), (name, losses)
    for name in ("bf16-mixed", "16-mixed"):
        torch.testing.assert_close(ends[name], ends["32-true"], rtol=0.1, atol=0, msg=name)
