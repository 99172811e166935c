"""Training touches what it should, and checkpoints hold what was trained."""

from copy import deepcopy
from functools import partial

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from syncsam_lightning.errors import NothingToTrainError, WeightsError
from syncsam_lightning.interaction import TrainingEpisode, run_rounds
from syncsam_lightning.seeding import stable_key
from syncsam_lightning.training.callbacks.resume import ResumeExactly
from syncsam_lightning.training.schedules import joint_loss


def copy_of(module):
    return {key: value.clone() for key, value in module.network.state_dict().items()}


@pytest.mark.parametrize("frozen", [("decoder",), ("cnn", "decoder")])
def test_frozen_parts_stay_bit_for_bit_and_every_trained_parameter_moves(
    discs, task, trainer, tmp_path, frozen
):
    torch.manual_seed(0)
    module, start = task(frozen=frozen), {}

    class Snapshot(pl.Callback):
        def on_train_start(self, trainer, pl_module):
            start.update(copy_of(pl_module))

    trainer(tmp_path, max_epochs=2, callbacks=[Snapshot()], limit_val_batches=0).fit(
        module, discs()
    )
    end = module.network.state_dict()
    kept = module.network.frozen_keys()
    assert kept
    assert ("image_encoder.cnn.bn1.running_mean" in kept) == ("cnn" in frozen)
    for key in kept:
        assert torch.equal(start[key], end[key]), key
    trained = [name for name, p in module.network.named_parameters() if p.requires_grad]
    assert trained
    unmoved = [name for name in trained if torch.equal(start[name], end[name])]
    assert unmoved == []
    assert kept.isdisjoint(trained)


def test_a_checkpoint_holds_trained_weights_only_and_loads_strictly(discs, task, trainer, tmp_path):
    module, datamodule = task(), discs()
    run = trainer(tmp_path, max_steps=2, limit_val_batches=0)
    run.fit(module, datamodule)
    path = tmp_path / "x.ckpt"
    run.save_checkpoint(path)
    content = torch.load(path, weights_only=True)
    saved = {key.removeprefix("network.") for key in content["state_dict"]}
    assert saved == set(module.network.state_dict()) - module.network.frozen_keys()
    assert content["frozen_checksum"] == module.checksum
    assert len(module.checksum) == 64
    fresh = task()
    (result,) = trainer(tmp_path).test(fresh, datamodule, ckpt_path=path, weights_only=True)
    for key, value in module.network.state_dict().items():
        assert torch.equal(value, fresh.network.state_dict()[key]), key
    assert 0 <= result["test/dice_box"] <= 1
    assert set(result) >= {"test/dice", "test/dice_1pt", "test/dice_5pts/ct", "test/iou_box/discs"}


def test_other_frozen_weights_are_refused(discs, task, trainer, tmp_path):
    run = trainer(tmp_path, max_steps=1, limit_val_batches=0)
    run.fit(task(), discs())
    run.save_checkpoint(tmp_path / "x.ckpt")
    other = task(frozen=())
    with pytest.raises(WeightsError, match="trained on other frozen weights"):
        trainer(tmp_path).test(other, discs(), ckpt_path=tmp_path / "x.ckpt")


def test_a_checkpoint_lacking_a_trained_weight_is_refused(discs, task, trainer, tmp_path):
    run = trainer(tmp_path, max_steps=1, limit_val_batches=0)
    run.fit(task(), discs())
    path = tmp_path / "x.ckpt"
    run.save_checkpoint(path)
    content = torch.load(path, weights_only=True)
    content["state_dict"].pop(next(iter(content["state_dict"])))
    torch.save(content, path)
    with pytest.raises(WeightsError, match=r"1 missing \(image_encoder.cnn.conv1.weight\)"):
        trainer(tmp_path).test(task(), discs(), ckpt_path=path)


def test_the_joint_loss_is_the_mean_over_the_rounds(discs, task):
    module, datamodule = task(), discs()
    datamodule.prepare_data()
    datamodule.setup("fit")
    batch = next(iter(datamodule.train_dataloader()))
    module.eval()
    policy = module.episode.policy(5)
    features = module.network.encode(batch.images, batch.targets.sizes)
    rounds = run_rounds(lambda p: module.network.decode(features, p), batch.targets, policy)
    terms = [module.loss.terms(played.logits, batch.targets.masks) for played in rounds]
    losses = joint_loss(module.network, module.loss, batch, policy)
    assert len(terms) == 3
    expected = sum(20 * t.dice + t.focal for t in terms) / 3
    assert losses.total.item() == pytest.approx(expected.item(), rel=1e-5)


def test_per_round_takes_a_step_for_every_round_and_follows_the_schedule(
    discs, task, trainer, tmp_path
):
    module = task(
        episode=TrainingEpisode(iterations=2, schedule="per_round"), lr_milestones=[1], lr=1e-3
    )
    run = trainer(tmp_path, max_epochs=1, limit_train_batches=2, limit_val_batches=0)
    run.fit(module, discs())
    assert run.global_step == 2 * 3
    assert run.optimizers[0].param_groups[0]["lr"] == pytest.approx(5e-4)


def test_a_resumed_run_sees_what_was_left_and_ends_with_the_same_weights(
    discs, task, trainer, tmp_path
):
    seen = []

    class Record(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            seen.append((trainer.current_epoch, tuple(info.id for info in batch.infos)))

    def run(**kwargs):
        torch.manual_seed(0)
        module = task()
        save = ModelCheckpoint(
            tmp_path / "ck", filename="{step}", every_n_train_steps=1, save_top_k=-1
        )
        run_trainer = trainer(
            tmp_path,
            callbacks=[Record(), ResumeExactly(), save],
            enable_checkpointing=True,
            limit_val_batches=0,
            max_epochs=2,
        )
        run_trainer.fit(module, discs(), **kwargs)
        return module

    whole = run()
    undisturbed = list(seen)
    seen.clear()
    resumed = run(ckpt_path=tmp_path / "ck" / "step=4.ckpt")
    assert seen == undisturbed[4:]
    for key, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[key]), key


def test_batches_are_planned_by_seed_epoch_and_index_alone(task):
    module = task()
    key = stable_key("batch", module.seed, 0, 3)
    assert module.episode.policy(key) == module.episode.policy(key)


def test_a_network_that_is_frozen_altogether_cannot_be_fitted(discs, task, trainer, tmp_path):
    module = task(cnn="none", frozen=("decoder", "prompt_encoder"))
    module.network.freeze(["image_encoder"])
    module.network.freeze(["mask_decoder"])
    with pytest.raises(NothingToTrainError, match=r"every part of SyncSAM is frozen.*syncsam test"):
        trainer(tmp_path, max_steps=1, limit_val_batches=0).fit(module, discs())


class Rates(pl.Callback):
    """Keeps the rate of every step."""

    def __init__(self):
        self.rates = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


@pytest.mark.parametrize(
    ("schedule", "warmup"), [("joint", 0), ("joint", 6), ("per_round", 1), ("per_round", 6)]
)
def test_the_rate_rises_by_step_and_falls_by_epoch(
    discs, task, trainer, tmp_path, schedule, warmup
):
    rates = Rates()
    module = task(
        lr=0.1,
        lr_milestones=(1,),
        warmup_steps=warmup,
        episode=TrainingEpisode(iterations=1, schedule=schedule),
        cnn="none",
    )
    runner = trainer(tmp_path, max_epochs=2, limit_val_batches=0, callbacks=[rates])
    runner.fit(module, discs(batch_size=3))
    expected = [
        0.1 * min(1, (step + 1) / max(warmup, 1)) * (1 if step < 4 else 0.5) for step in range(8)
    ]
    assert rates.rates == pytest.approx(expected)


def test_a_negative_warmup_is_refused(task):
    with pytest.raises(ValueError, match="warmup_steps must be 0 or more, got -1"):
        task(warmup_steps=-1)


@pytest.mark.parametrize("lr", [-1.0, float("nan"), float("inf")])
def test_a_learning_rate_that_can_not_be_is_refused(task, lr: float):
    with pytest.raises(ValueError, match=f"lr must be a finite number of 0 or more, got {lr}"):
        task(lr=lr)


class Gradients(pl.Callback):
    """Keeps the gradients of every step."""

    def __init__(self):
        self.steps = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        network = pl_module.network
        self.steps.append(
            {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
        )


@pytest.fixture
def joint_run(discs, task, trainer, tmp_path):
    """A network before training, its module after three steps, and the gradients of each."""
    torch.manual_seed(0)
    module = task(lr=1e-3)
    module.pretrained.load(module.network, begins=True, untrained=True)
    network, gradients = deepcopy(module.network), Gradients()
    trainer(tmp_path, max_steps=3, limit_val_batches=0, callbacks=[gradients]).fit(module, discs())
    return network, module, gradients.steps


def test_a_joint_step_has_the_gradients_of_an_episode_written_by_hand(joint_run, discs):
    network, module, (first, *_) = joint_run
    datamodule = discs()
    datamodule.setup("fit")
    network.train()
    batch = next(iter(datamodule.train_dataloader()))
    features = network.encode(batch.images, batch.targets.sizes)
    policy = module.episode.policy(stable_key("batch", 0, 0, 0))
    losses = []
    for played in run_rounds(partial(network.decode, features), batch.targets, policy):
        full = torch.nn.functional.interpolate(
            played.logits[:, None], (64, 64), mode="bilinear", align_corners=False
        )[:, 0]
        p, y = full.sigmoid().flatten(1), batch.targets.masks.flatten(1).float()
        dice = 1 - (2 * (p * y).sum(1) + 1) / (p.sum(1) + y.sum(1) + 1)
        right = torch.where(y > 0, p, 1 - p)
        focal = torch.where(y > 0, 0.25, 0.75) * (1 - right) ** 2 * -right.log()
        losses.append(20 * dice.mean() + focal.mean())
    torch.stack(losses).mean().backward()
    by_hand = {n: p.grad for n, p in network.named_parameters() if p.requires_grad}
    assert by_hand.keys() == first.keys()
    largest = max(grad.norm() for grad in by_hand.values())
    for name, grad in by_hand.items():
        # Behind a normalisation some gradients are zero but for rounding.
        assert (grad - first[name]).norm() < 1e-3 * grad.norm() + 1e-6 * largest, name


def test_steps_are_adams(joint_run):
    network, module, steps = joint_run
    trained = {n: p for n, p in network.named_parameters() if p.requires_grad}
    adam = torch.optim.Adam(trained.values(), lr=1e-3, fused=True)
    for gradients in steps:
        for name, parameter in trained.items():
            parameter.grad = gradients[name]
        adam.step()
    after = dict(module.network.named_parameters())
    assert len(steps) == 3
    assert all(torch.equal(parameter, after[name]) for name, parameter in trained.items())


def test_a_checkpoint_of_another_network_is_told_by_its_first_difference(
    discs, task, trainer, tmp_path
):
    first = trainer(tmp_path, max_steps=1, limit_val_batches=0)
    first.fit(task(cnn="none"), discs())
    first.save_checkpoint(tmp_path / "x.ckpt")
    message = r"another network than model.network: \d+ missing \(image_encoder.cnn"
    with pytest.raises(WeightsError, match=message):
        trainer(tmp_path).test(task(), discs(), ckpt_path=tmp_path / "x.ckpt")
    wide = task(cnn="none")
    wide.network.mask_decoder.med_token = torch.nn.Embedding(2, 256)
    message = r"1 of another shape \(.*med_token.weight: \(1, 256\), here \(2, 256\)\); use"
    with pytest.raises(WeightsError, match=message):
        trainer(tmp_path).test(wide, discs(), ckpt_path=tmp_path / "x.ckpt")


def test_a_network_is_measured_with_the_feedback_that_it_was_trained_with(
    discs, task, trainer, tmp_path
):
    episode = TrainingEpisode(iterations=1, feedback="sigmoid")
    trained = task(episode=episode)
    assert trained.network.input_spec.feedback == "logits"  # nothing has been trained yet
    run = trainer(tmp_path, max_steps=1, limit_val_batches=0)
    run.fit(trained, discs())
    assert trained.network.input_spec.feedback == "sigmoid"
    run.save_checkpoint(tmp_path / "x.ckpt")
    fresh = task(episode=episode)
    trainer(tmp_path).test(fresh, discs(), ckpt_path=tmp_path / "x.ckpt", weights_only=True)
    assert fresh.network.input_spec.feedback == "sigmoid"


def test_measuring_without_a_checkpoint_is_announced(discs, task, trainer, tmp_path, caplog):
    module = task(cnn="none")
    trainer(tmp_path).validate(module, discs(), verbose=False)
    assert "neither ckpt_path nor weights is given: what follows is about" in caplog.text
    caplog.clear()
    run = trainer(tmp_path, max_steps=1, limit_val_batches=0)
    run.fit(module, discs())
    run.save_checkpoint(tmp_path / "x.ckpt")
    trainer(tmp_path).validate(module, discs(), verbose=False)
    restored = {"ckpt_path": tmp_path / "x.ckpt", "verbose": False}
    trainer(tmp_path).validate(task(cnn="none"), discs(), **restored)
    assert "neither ckpt_path" not in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 96}, "takes images with image_size=64, but .* has image_size=96: build"),
        ({"image_fit": "stretch"}, "with image_fit='pad', but .* has image_fit='stretch': build"),
    ],
)
def test_images_in_another_frame_than_the_network_s_are_refused(
    discs, task, trainer, tmp_path, options, message
):
    with pytest.raises(ValueError, match=message):
        trainer(tmp_path).fit(task(), discs(**options))
