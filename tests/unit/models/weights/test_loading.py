from __future__ import annotations

import re

import pytest
import torch

from syncsam_lightning.errors import WeightsError
from syncsam_lightning.models import load_weights
from syncsam_lightning.models.syncsam.layouts import to_predecessor_layout


@pytest.fixture
def reseeded(build):
    """A small SyncSAM whose tensors all differ from those that ``build`` gives."""

    def reseeded_small(**changes):
        model = build(**changes)
        generator = torch.Generator().manual_seed(9)
        with torch.no_grad():
            for tensor in model.state_dict().values():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 1)
        return model

    return reseeded_small


def assert_equal_states(first, second):
    second = dict(second)
    for key, tensor in first.items():
        assert torch.equal(tensor, second.pop(key)), key
    assert not second


def test_our_own_layout_comes_back_from_a_file(build, reseeded, tmp_path):
    source, model = reseeded(), build()
    torch.save(source.state_dict(), tmp_path / "w.pth")
    report = load_weights(model, tmp_path / "w.pth", strict=True)
    assert report.layout == "syncsam"
    assert (report.missing, report.unexpected, report.resized) == ((), (), ())
    assert_equal_states(source.state_dict(), model.state_dict())


def test_a_safetensors_file_comes_back(build, reseeded, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    source, model = reseeded(), build()
    official = {k: v.contiguous() for k, v in to_predecessor_layout(source.state_dict()).items()}
    safetensors.save_file(official, tmp_path / "w.safetensors")
    report = load_weights(model, tmp_path / "w.safetensors", strict=True)
    assert report.layout == "predecessor"
    assert_equal_states(source.state_dict(), model.state_dict())


def test_a_lightning_checkpoint_s_network_is_loaded(build, reseeded, tmp_path):
    source, model = reseeded(), build()
    state = {f"network.{key}": tensor for key, tensor in source.state_dict().items()}
    state["loss.weight"] = torch.ones(1)
    torch.save({"epoch": 1, "state_dict": state}, tmp_path / "w.ckpt")
    report = load_weights(model, str(tmp_path / "w.ckpt"))
    assert report.unexpected == ("loss.weight",)
    assert report.missing == ()
    assert_equal_states(source.state_dict(), model.state_dict())


def test_a_checkpoint_without_frozen_weights_leaves_them_alone(build, reseeded):
    source, model = reseeded(), build()
    before = {key: model.state_dict()[key].clone() for key in model.frozen_keys()}
    state = source.state_dict()
    for key in source.frozen_keys():
        del state[key]
    report = load_weights(model, state)
    assert set(report.missing) == model.frozen_keys()
    assert set(report.loaded) == set(state)
    assert all(torch.equal(model.state_dict()[key], before[key]) for key in before)


def test_the_predecessor_s_layout_comes_back(build, reseeded):
    source, model = reseeded(), build()
    report = load_weights(model, to_predecessor_layout(source.state_dict()), strict=True)
    assert report.layout == "predecessor"
    assert_equal_states(source.state_dict(), model.state_dict())


def test_sam_s_checkpoint_fills_what_sam_has(build, sam_state):
    model = build()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    report = load_weights(model, sam_state)
    after = model.state_dict()
    assert report.layout == "sam"
    assert set(report.loaded) | set(report.missing) == set(after)
    assert model.frozen_keys() <= set(report.loaded)
    assert all(torch.equal(after[key], before[key]) for key in report.missing)
    ours = (
        "image_encoder.cnn.",
        "image_encoder.adapters.",
        "image_encoder.bridges.",
        "image_encoder.embedding_encoder.",
        "mask_decoder.med_",
        "mask_decoder.mask_features.",
    )
    assert all(key.startswith(ours) for key in report.missing)
    same = "image_encoder.vit.blocks.2.attn.qkv.weight"
    assert torch.equal(after[same], sam_state["image_encoder.blocks.2.attn.qkv.weight"])


def test_sam_s_heads_that_have_no_place_are_unexpected(build, sam_state):
    report = load_weights(build(), sam_state)
    tops = {key.split(".")[1] for key in report.unexpected}
    assert tops == {"iou_token", "mask_tokens", "output_hypernetworks_mlps", "iou_prediction_head"}
    assert load_weights(build(med_token=False), sam_state).unexpected == ()


def test_tables_of_1024_pixels_are_resized_and_windowed_ones_untouched(build, sam_state):
    model = build()
    report = load_weights(model, sam_state)
    assert set(report.resized) == {"image_encoder.vit.pos_embed"} | {
        f"image_encoder.vit.blocks.{i}.attn.rel_pos_{axis}" for i in (1, 3, 5, 7) for axis in "hw"
    }
    state = model.state_dict()
    windowed = "blocks.0.attn.rel_pos_h"
    assert torch.equal(
        state[f"image_encoder.vit.{windowed}"], sam_state[f"image_encoder.{windowed}"]
    )
    # From 64 cells to 4, bilinear with aligned centres reads between cells 7 and 8 first.
    expected = sam_state["image_encoder.pos_embed"][0, 7:9, 7:9].mean((0, 1))
    torch.testing.assert_close(state["image_encoder.vit.pos_embed"][0, 0, 0], expected)


def test_a_model_without_a_vit_reports_sam_s_blocks_as_unexpected(build, sam_state):
    report = load_weights(build(vit="none"), sam_state)
    assert "image_encoder.blocks.0.norm1.weight" in report.unexpected
    assert "image_encoder.neck.0.weight" in report.loaded


def test_an_unknown_layout_is_told_with_the_known_ones_and_some_keys(build):
    state = {f"encoder.{i}.weight": torch.zeros(1) for i in range(9)}
    with pytest.raises(WeightsError) as caught:
        load_weights(build(), state)
    message = str(caught.value)
    assert "the state dict has a layout that SyncSAM does not know" in message
    for known in ("Meta's SAM ViT-B", "SAM-UNet", "this package's own"):
        assert known in message
    assert "encoder.0.weight, encoder.1.weight" in message
    assert "and 4 more" in message


def test_a_shape_that_does_not_fit_is_named_with_both_and_nothing_is_loaded(build, reseeded):
    model = build()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    state = reseeded().state_dict()
    key = "mask_decoder.med_token.weight"
    state[key] = torch.zeros(1, 128)
    sentence = f"{key} has the shape (1, 128), but the model's {key} has (1, 256)"
    with pytest.raises(WeightsError, match=re.escape(sentence)):
        load_weights(model, state)
    assert_equal_states(before, model.state_dict())


def test_another_window_is_not_interpolated(build, reseeded):
    with pytest.raises(WeightsError, match=r"rel_pos_h has the shape \(7, 16\)"):
        load_weights(build(), reseeded(window_size=4).state_dict())


def test_another_image_size_of_our_own_is_resized(build, reseeded):
    report = load_weights(build(image_size=96), reseeded().state_dict())
    assert "image_encoder.vit.pos_embed" in report.resized
    assert report.missing == ()


def test_strict_names_what_is_missing_and_unexpected(build, reseeded):
    state = reseeded().state_dict()
    state["extra"] = state.pop("mask_decoder.med_token.weight")
    with pytest.raises(
        WeightsError, match=r"missing mask_decoder.med_token.weight; unexpected extra"
    ):
        load_weights(build(), state, strict=True)


def test_a_known_layout_that_fits_nothing_is_an_error(build):
    state = {"image_encoder.vit.blocks.99.norm1.weight": torch.zeros(1)}
    with pytest.raises(WeightsError, match="none of its tensors has a place in SyncSAM"):
        load_weights(build(), state)


def test_frozen_parts_stay_frozen_after_loading(build, sam_state):
    model = build()
    load_weights(model, sam_state)
    assert not any(p.requires_grad for p in model.image_encoder.vit.parameters())
