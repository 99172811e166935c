from __future__ import annotations

import pytest
import torch

from syncsam_lightning.errors import UnsupportedPromptError
from syncsam_lightning.models import load_weights
from syncsam_lightning.models.baselines.imis import model as imis_model
from syncsam_lightning.models.baselines.imis.layouts import OFFICIAL

TEXT_TOWER = ("text_out_dim.bias", "text_model.text_model.final_layer_norm.bias")
INNER_NECK = "image_encoder.sam_encoder.neck.0.weight"


def official(model):
    """The small model's tensors, all different, as the official file would name them."""
    generator = torch.Generator().manual_seed(7)
    state = {
        OFFICIAL.from_ours(key): torch.rand(tensor.shape, generator=generator)
        for key, tensor in model.state_dict().items()
    }
    return {**state, **{key: torch.zeros(3) for key in (*TEXT_TOWER, INNER_NECK)}}


def test_a_batch_of_objects_equals_one_by_one(build_imis, images, prompts):
    model = build_imis().eval()
    with torch.no_grad():
        features = model.encode(images)
        together = model.decode(features, prompts)
        alone = [model.decode(features, prompts[i : i + 1]) for i in range(3)]
    assert together.shape == (3, 16, 16)
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_many_objects_are_decoded_a_few_at_a_time_but_not_in_training(
    build_imis, images, prompts, monkeypatch
):
    model = build_imis().eval()
    sizes = []  # of what is decoded at once
    model.mask_decoder.register_forward_hook(lambda _m, args, _out: sizes.append(len(args[1])))
    with torch.no_grad():
        features = model.encode(images)
        together = model.decode(features, prompts)
        monkeypatch.setattr(imis_model, "_PIXELS_AT_ONCE", 2 * 64**2)
        parts = model.decode(features, prompts)
        torch.testing.assert_close(together, parts, rtol=1e-4, atol=1e-5)
    model.train().decode(features, prompts)
    assert sizes == [3, 2, 1, 3]


def test_what_published_training_trains_is_trained_as_far_as_a_gradient_reaches(
    build_imis, images, prompts
):
    model = build_imis().train()
    model.decode(model.encode(images), prompts).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    assert {".".join(name.split(".")[:2]) for name in model.frozen_keys()} == {
        "image_encoder.vit",
        "mask_decoder.output_hypernetworks_mlps",  # that of the mask which is never chosen
        "mask_decoder.semantic_prediction_head",
        "mask_decoder.text_output",
    }
    assert model.image_encoder.neck[0].weight.grad.any()


@pytest.mark.parametrize("part", ["vit", "neck", "prompt_encoder", "decoder"])
def test_parts_are_frozen_by_name(build_imis, part):
    model = build_imis(frozen=[part])
    modules = {"vit": "image_encoder.vit", "neck": "image_encoder.neck", "decoder": "mask_decoder"}
    frozen = model.get_submodule(modules.get(part, part))
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    assert any(parameter.requires_grad for parameter in model.parameters())


def test_unknown_parts_and_sizes_are_refused(build_imis):
    with pytest.raises(ValueError, match="frozen: unknown value 'text'; choose from vit, neck"):
        build_imis(frozen=["text"])
    with pytest.raises(ValueError, match="frozen must be a list of parts, got the text 'vit'"):
        build_imis(frozen="vit")
    with pytest.raises(ValueError, match="embed_dim must be a multiple of 16, got 40"):
        build_imis(embed_dim=40)
    with pytest.raises(ValueError, match="image_size must be a multiple of 16"):
        build_imis(image_size=100)


def test_no_prompt_and_images_of_another_size_are_refused(build_imis, images, prompts):
    model = build_imis().eval()
    with pytest.raises(ValueError, match=r"images must be \(B, 3, 64, 64\)"):
        model.encode(torch.zeros(1, 3, 32, 32))
    features = model.encode(images)
    with pytest.raises(UnsupportedPromptError, match="IMISNet was given no prompt"):
        model.decode(features, type(prompts)(prompts.image_index))


def test_it_runs_in_bfloat16(build_imis, images, prompts):
    model = build_imis().eval().bfloat16()
    with torch.no_grad():
        assert model.decode(model.encode(images), prompts).isfinite().all()


def test_the_official_file_fills_everything_and_its_text_tower_is_unused(build_imis, tmp_path):
    model = build_imis()
    state = official(model)
    torch.save({"model_state_dict": state, "epoch": 3, "losses": [0.1]}, tmp_path / "w.pth")
    report = load_weights(model, tmp_path / "w.pth", strict=True)
    assert (report.layout, report.missing, report.unexpected) == ("imis", (), ())
    assert set(report.unused) == {*TEXT_TOWER, INNER_NECK}
    loaded = model.state_dict()
    ours = "image_encoder.vit.blocks.3.mlp.lin2.weight"
    assert torch.equal(loaded[ours], state["image_encoder.sam_encoder.blocks.3.mlp.fc2.weight"])
    assert torch.equal(loaded["image_encoder.neck.2.weight"], state["image_encoder.neck.2.weight"])


def test_its_positions_are_brought_to_another_size_as_timm_does(build_imis):
    source, model = build_imis(image_size=128), build_imis()
    state = official(source)
    report = load_weights(model, state)
    assert "image_encoder.vit.pos_embed" in report.resized
    table = state["image_encoder.sam_encoder.pos_embed"].permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(table, (4, 4), mode="bicubic", antialias=True)
    torch.testing.assert_close(model.image_encoder.vit.pos_embed, expected.permute(0, 2, 3, 1))


def test_sam_s_checkpoint_fills_the_vit_and_nothing_else(build_imis, sam_state):
    # Its neck and decoder have our names but SAM's widths.
    model = build_imis()
    report = load_weights(model, sam_state)
    vit = {key for key in model.state_dict() if key.startswith("image_encoder.vit.")}
    assert set(report.loaded) == vit
    assert report.layout == "sam"
    assert report.unexpected == ()
    assert {"image_encoder.neck.0.weight", "mask_decoder.iou_token.weight"} < set(report.unused)
