from __future__ import annotations

import copy
from dataclasses import fields

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from syncsam_lightning.errors import UnsupportedPromptError
from syncsam_lightning.models import ImageFeatures, SyncSAM
from syncsam_lightning.prompts import Prompts

ABLATIONS = {
    "syncsam": {},
    "decoder_trained": {"frozen": []},
    "cnn_and_decoder_frozen": {"frozen": ["cnn", "decoder"]},
    "prompt_encoder_frozen": {"frozen": ["prompt_encoder"]},
    "vit_trained": {"vit": "trained"},
    "vit_none": {"vit": "none"},
    "vit_none_sam_decoder": {"vit": "none", "med_token": False, "multi_scale": False},
    "cnn_none": {"cnn": "none"},
    "cnn_none_vit_trained": {"cnn": "none", "vit": "trained", "frozen": []},
    "ft_sam": {"cnn": "none", "med_token": False, "multi_scale": False, "frozen": []},
    "resnet50": {"cnn": "resnet50"},
    "single_step": {"fusion": "single_step"},
    "sam_decoder": {"med_token": False},
    "sam_decoder_trained": {"med_token": False, "multi_scale": False, "frozen": []},
    "no_multi_scale": {"multi_scale": False},
}


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_gradients_reach_every_trained_parameter_and_no_other(build, images, prompts, ablation):
    model = build(**ABLATIONS[ablation]).train()
    boxes_only = Prompts(prompts.image_index, boxes=prompts.boxes)
    logits = model.decode(model.encode(images), boxes_only)
    assert logits.shape == (3, 16, 16)
    logits.square().mean().backward()
    frozen = model.frozen_keys()
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == (name not in frozen), name
        assert (parameter.grad is not None) == parameter.requires_grad, name
    # Of what a box prompt uses, gradients are not merely zeros.
    silent = {
        name
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and not parameter.grad.any()
    }
    assert all(name.startswith("prompt_encoder.") for name in silent), silent


def test_a_step_changes_no_frozen_tensor_batch_statistics_included(build, images, prompts):
    model = build(frozen=["cnn", "decoder"]).train()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    model.decode(model.encode(images), prompts).square().mean().backward()
    optimizer.step()
    frozen = model.frozen_keys()
    assert "image_encoder.cnn.bn1.running_mean" in frozen
    assert "image_encoder.vit.pos_embed" in frozen
    after = model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in frozen)
    assert not torch.equal(
        before["image_encoder.adapters.0.0.weight"], after["image_encoder.adapters.0.0.weight"]
    )


def test_a_trained_cnn_moves_its_batch_statistics(build, images):
    model = build().train()
    before = model.image_encoder.cnn.bn1.running_mean.clone()
    model.encode(images)
    assert not torch.equal(before, model.image_encoder.cnn.bn1.running_mean)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"image_encoder.vit", "image_encoder.neck", "transformer", "output_upscaling"}),
        ({"vit": "none"}, {"transformer", "output_upscaling"}),
        ({"vit": "trained", "frozen": []}, set()),
        (
            {"vit": "trained", "frozen": [], "med_token": False},
            {"iou_prediction_head", *(f"output_hypernetworks_mlps.{i}" for i in (1, 2, 3))},
        ),
    ],
)
def test_what_is_frozen_follows_from_the_arguments(build, changes, expected):
    model = build(**changes)
    names = [
        name if name.startswith("image_encoder") else f"mask_decoder.{name}" for name in expected
    ]
    parts = {id(model.get_submodule(name)) for name in names}
    assert {id(module) for module in model.frozen_modules} == parts


@pytest.mark.parametrize("changes", [{}, {"med_token": False}])
def test_a_batch_of_objects_equals_one_by_one(build, images, prompts, changes):
    model = build(**changes).eval()
    with torch.no_grad():
        features = model.encode(images)
        together = model.decode(features, prompts)
        for i in range(3):
            alone = model.decode(features, prompts[i : i + 1])
            torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-4, atol=3e-5)


def test_a_batch_of_images_equals_one_by_one(build, images, prompts):
    model = build().eval()
    with torch.no_grad():
        together = model.encode(images)
        for i in range(2):
            alone = model.encode(images[i : i + 1])
            torch.testing.assert_close(
                together.embedding[i : i + 1], alone.embedding, rtol=1e-4, atol=1e-4
            )


def test_uint8_and_float_images_are_the_same(build, images):
    model = build().eval()
    with torch.no_grad():
        expected = model.encode(images.float()).embedding
        assert torch.equal(model.encode(images.to(torch.uint8)).embedding, expected)


def normalised_input(model: SyncSAM, images: torch.Tensor, sizes=None) -> torch.Tensor:
    seen = []
    handle = model.image_encoder.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    with torch.no_grad():
        model.eval().encode(images, sizes)
    handle.remove()
    return seen[0]


def test_images_are_normalised_with_sam_s_constants(build):
    images = (
        torch.tensor([123.675, 116.28, 103.53]).reshape(1, 3, 1, 1).expand(1, 3, 64, 64).clone()
    )
    images[0, 1, 5, 7] += 57.12
    seen = normalised_input(build(), images)
    assert seen[0, 1, 5, 7].item() == pytest.approx(1.0, abs=1e-5)
    seen[0, 1, 5, 7] = 0
    assert not seen.any()


def test_padding_is_zero_after_normalisation_and_its_pixels_don_t_matter(build, images):
    model, sizes = build(), torch.tensor([[64, 20], [1, 64]])
    seen = normalised_input(model, images, sizes)
    assert not seen[0, :, :, 20:].any()
    assert not seen[1, :, 1:].any()
    whole = normalised_input(model, images)
    assert torch.equal(seen[0, :, :, :20], whole[0, :, :, :20])
    assert torch.equal(seen[1, :, :1], whole[1, :, :1])


@pytest.mark.parametrize("shape", [(2, 3, 64, 32), (2, 1, 64, 64), (3, 64, 64), (1, 3, 256, 256)])
def test_images_of_another_shape_are_refused_with_the_expected_one(build, shape):
    with pytest.raises(ValueError, match=r"images must be \(B, 3, 64, 64\).*image_size of 64"):
        build().encode(torch.zeros(shape))


def test_sizes_of_another_shape_are_refused(build, images):
    with pytest.raises(ValueError, match=r"sizes must be \(2, 2\).*got \(2,\)"):
        build().encode(images, torch.tensor([64, 64]))


def test_no_prompt_at_all_is_refused(build):
    features = ImageFeatures(torch.zeros(1, 256, 4, 4), torch.zeros(1, 32, 16, 16))
    with pytest.raises(UnsupportedPromptError, match="SyncSAM was given no prompt; it takes boxes"):
        build().decode(features, Prompts(torch.tensor([0])))


def test_no_objects_give_no_masks(build, images):
    model, none = build().eval(), Prompts(torch.zeros(0, dtype=torch.long), torch.zeros(0, 4))
    assert model.decode(model.encode(images), none).shape == (0, 16, 16)


def test_constants_are_no_part_of_the_state(build):
    assert not [key for key in build().state_dict() if key.startswith("normalise")]


def test_the_input_spec_says_what_it_takes(build):
    spec = build().input_spec
    assert (spec.size, spec.mask_size) == (64, 16)
    assert spec.prompts == {"boxes", "points", "masks"}


def test_arguments_are_keyword_only():
    with pytest.raises(TypeError, match="positional"):
        SyncSAM("resnet34")


def test_it_runs_in_bfloat16(build, images, prompts):
    model = build().eval().bfloat16()
    with torch.no_grad():
        logits = model.decode(model.encode(images), prompts)
    assert logits.isfinite().all()


def test_it_trains_under_autocast(build, images, prompts):
    model = build().train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model.decode(model.encode(images), prompts)
    logits.float().square().mean().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


def test_decoding_never_waits_for_the_device(build, images, prompts):
    # Tensors without data: whatever reads a value on the host, or has a shape that depends on
    # values (writing through a boolean index does), raises.
    model = build().train()
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        features = model.encode(mode.from_tensor(images), mode.from_tensor(torch.full((2, 2), 50)))
        fake = Prompts(
            **{f.name: mode.from_tensor(getattr(prompts, f.name)) for f in fields(prompts)}
        )
        assert model.decode(features, fake).shape == (3, 16, 16)
