"""Pretrained weights are loaded where they belong, and never over trained ones."""

from functools import partial

import lightning.pytorch as pl
import pytest
import torch
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)

from syncsam_lightning.errors import WeightsError
from syncsam_lightning.models import SyncSAM, frozen_checksum
from syncsam_lightning.models.baselines import IMISNet
from syncsam_lightning.models.weights import pretrained
from syncsam_lightning.models.weights.pretrained import PretrainedWeights


@pytest.fixture
def sam(tmp_path):
    """A SAM whose ViT is as narrow as the small SyncSAM's, as a checkpoint file."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = Sam(
            ImageEncoderViT(
                img_size=1024,
                embed_dim=32,
                depth=4,
                num_heads=2,
                norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
                use_rel_pos=True,
                window_size=3,
                global_attn_indexes=(0, 1, 2, 3),
            ),
            PromptEncoder(256, (64, 64), (1024, 1024), 16),
            MaskDecoder(
                transformer_dim=256,
                transformer=TwoWayTransformer(
                    depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8
                ),
            ),
        )
        path = tmp_path / "sam.pth"
        torch.save(model.state_dict(), path)
    return path


def copy_of(module):
    return {key: value.clone() for key, value in module.network.state_dict().items()}


def changed(before, after):
    return [key for key in before if not torch.equal(before[key], after[key])]


@pytest.fixture
def fit(discs, trainer, tmp_path):
    """Train for some steps and return the weights that training began with."""

    def run(module, steps, **kwargs):
        start = {}

        class Snapshot(pl.Callback):
            def on_train_start(self, trainer, pl_module):
                start.update(copy_of(pl_module))

        runner = trainer(tmp_path, max_steps=steps, limit_val_batches=0, callbacks=[Snapshot()])
        runner.fit(module, discs(), **kwargs)
        return start, runner

    return run


@pytest.mark.parametrize("stage", ["test", "validate"])
def test_measuring_a_module_after_its_training_changes_no_weight(
    discs, task, trainer, tmp_path, sam, fit, stage
):
    module = task(sam_checkpoint=str(sam))
    start, _ = fit(module, 3)
    trained = copy_of(module)
    assert "prompt_encoder.point_embeddings.0.weight" in changed(start, trained)
    getattr(trainer(tmp_path), stage)(module, discs(), verbose=False)
    assert changed(trained, copy_of(module)) == []


def test_a_second_fit_goes_on_where_the_first_ended(task, sam, fit):
    module = task(sam_checkpoint=str(sam))
    fit(module, 3)
    trained = copy_of(module)
    start, _ = fit(module, 1)
    assert changed(trained, start) == []


def test_a_resumed_fit_goes_on_from_the_checkpoint(task, sam, fit, tmp_path):
    module = task(sam_checkpoint=str(sam))
    _, runner = fit(module, 3)
    runner.save_checkpoint(tmp_path / "x.ckpt")
    start, _ = fit(task(sam_checkpoint=str(sam)), 4, ckpt_path=tmp_path / "x.ckpt")
    assert changed(copy_of(module), start) == []


def test_training_begins_from_sams_prompt_encoder_and_frozen_parts(task, sam, fit):
    content = torch.load(sam, weights_only=True)
    start, _ = fit(task(sam_checkpoint=str(sam)), 1)
    for key in ("prompt_encoder.point_embeddings.2.weight", "mask_decoder.transformer.norm_final_"
                "attn.weight"):  # fmt: skip
        assert torch.equal(start[key], content[key]), key


def test_a_test_without_training_loads_frozen_parts_only(discs, task, trainer, tmp_path, sam):
    module = task(sam_checkpoint=str(sam))
    before = copy_of(module)
    trainer(tmp_path).test(module, discs(), verbose=False)
    found = set(changed(before, copy_of(module)))
    assert found
    assert found <= module.network.frozen_keys()


def test_random_frozen_parts_are_announced_and_the_same_every_time(task, caplog):
    modules = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        modules.append(task())
        PretrainedWeights("none", "none").load(modules[-1].network, begins=True, untrained=True)
    assert "the frozen parts hold random weights" in caplog.text
    frozen = modules[0].network.frozen_keys()
    different = set(changed(*map(copy_of, modules)))
    assert different
    assert different.isdisjoint(frozen)


def test_frozen_parts_that_sam_s_file_lacks_are_the_same_every_time(sam):
    # IMIS-Net has SAM's ViT, but heads for texts besides, which are frozen too.
    networks = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        networks.append(
            IMISNet(
                image_size=64, embed_dim=32, vit_width=32, vit_depth=4, vit_heads=2, window_size=3
            )
        )
        PretrainedWeights(str(sam), "none").load(networks[-1], begins=True, untrained=True)
    assert frozen_checksum(networks[0]) == frozen_checksum(networks[1])
    content = torch.load(sam, weights_only=True)["image_encoder.blocks.0.norm1.weight"]
    assert torch.equal(networks[0].image_encoder.vit.blocks[0].norm1.weight, content)


def test_a_missing_file_is_named_before_any_training(task, fit, tmp_path):
    with pytest.raises(WeightsError, match=r"there is no SAM checkpoint at .*nowhere\.pth"):
        fit(task(sam_checkpoint=str(tmp_path / "nowhere.pth")), 1)


@pytest.mark.parametrize(
    ("vit", "frozen", "begins", "fetched"),
    [
        ("frozen", ("decoder",), True, ["sam", "cnn"]),
        ("frozen", ("decoder",), False, ["sam"]),
        ("frozen", ("cnn", "decoder"), False, ["sam", "cnn"]),
        ("trained", (), True, ["sam", "cnn"]),
        ("trained", (), False, []),
    ],
)
def test_what_will_be_loaded_is_fetched_beforehand(monkeypatch, vit, frozen, begins, fetched):
    calls = []
    monkeypatch.setattr(pretrained, "find_sam_checkpoint", lambda where: calls.append("sam"))
    monkeypatch.setattr(pretrained, "load_imagenet_weights", lambda model: calls.append("cnn"))
    network = SyncSAM(
        cnn="resnet18", image_size=64, vit_width=32, vit_depth=4, vit_heads=2, window_size=3,
        vit=vit, frozen=frozen,
    )  # fmt: skip
    PretrainedWeights("auto", "imagenet").fetch(network, begins=begins, untrained=begins)
    assert calls == fetched


def test_settings_given_as_paths_do_not_keep_a_checkpoint_from_loading(task, sam, fit, tmp_path):
    _, runner = fit(task(sam_checkpoint=sam), 1)
    runner.save_checkpoint(tmp_path / "x.ckpt")
    settings = torch.load(tmp_path / "x.ckpt", weights_only=True)["hyper_parameters"]
    assert settings["sam_checkpoint"] == str(sam)
    assert not {"network", "episode", "loss"} & set(settings)


# Whole weights


@pytest.fixture
def whole(task, tmp_path):
    """A file of a whole network, unlike any that ``task`` builds; and what is in it."""
    with torch.random.fork_rng():
        torch.manual_seed(77)
        state = task().network.state_dict()
        state = {k: torch.randn_like(v) if v.is_floating_point() else v for k, v in state.items()}
    torch.save(state, tmp_path / "whole.pth")
    return tmp_path / "whole.pth", state


def test_a_test_without_training_loads_given_weights_whole(discs, task, trainer, tmp_path, whole):
    path, state = whole
    module = task(weights=path)
    trainer(tmp_path).test(module, discs(), verbose=False)
    assert changed(state, copy_of(module)) == []


def test_training_begins_from_given_weights(task, fit, sam, whole):
    path, state = whole
    start, _ = fit(task(sam_checkpoint=str(sam), weights=path), 1)
    assert changed(state, start) == []


def test_a_resumed_fit_takes_the_frozen_ones_of_the_given_weights_only(task, fit, whole, tmp_path):
    path, state = whole
    module = task(weights=path)
    _, runner = fit(module, 2)
    runner.save_checkpoint(tmp_path / "x.ckpt")
    again = task(weights=path)
    start, _ = fit(again, 3, ckpt_path=tmp_path / "x.ckpt")
    assert changed(copy_of(module), start) == []
    assert set(changed(state, start)).isdisjoint(again.network.frozen_keys())


def test_weights_loaded_by_hand_are_left_alone(discs, task, trainer, tmp_path, whole):
    module = task()
    module.network.load_state_dict(whole[1])
    trainer(tmp_path).test(module, discs(), verbose=False)
    assert set(changed(whole[1], copy_of(module))) <= module.network.frozen_keys()


def test_missing_weights_are_named(task, fit, tmp_path):
    with pytest.raises(WeightsError, match=r"nowhere\.pth does not exist; give a checkpoint"):
        fit(task(weights=tmp_path / "nowhere.pth"), 1)
