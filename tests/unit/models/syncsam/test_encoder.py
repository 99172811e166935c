from __future__ import annotations

import torch

from syncsam_lightning.models.syncsam.encoder import DualBranchEncoder


def silence(module: torch.nn.Module) -> None:
    for parameter in module.parameters():
        torch.nn.init.zeros_(parameter)


def features(model, images):
    with torch.no_grad():
        return model.eval().encode(images)


def encoder_of(model) -> DualBranchEncoder:
    return model.image_encoder


def test_silent_adapters_leave_the_vit_alone(build, images):
    model, vit_only = build(), build(cnn="none")
    vit_only.load_state_dict(model.state_dict(), strict=False)
    different = features(model, images).embedding
    silence(encoder_of(model).adapters)
    expected = features(vit_only, images)
    torch.testing.assert_close(features(model, images).embedding, expected.embedding)
    assert not torch.allclose(different, expected.embedding)


def test_only_the_later_stages_hear_a_later_adapter(build, images):
    model = build(multi_scale=True)
    adapters = encoder_of(model).adapters
    for i in (0, 1, 2):
        silence(adapters[i])
    seen = []
    for bridge_to_decoder in encoder_of(model).bridges:
        bridge_to_decoder.register_forward_hook(lambda _m, args, _o: seen.append(args[0]))
    loud = features(model, images)
    silence(adapters[3])
    quiet = features(model, images)
    for before, after in zip(seen[:3], seen[3:], strict=True):
        assert torch.equal(before, after)
    assert not torch.equal(loud.embedding, quiet.embedding)


def test_single_step_fusion_leaves_the_stages_to_the_vit(build, images):
    model = build(fusion="single_step")
    seen = []
    for bridge_to_decoder in encoder_of(model).bridges:
        bridge_to_decoder.register_forward_hook(lambda _m, args, _o: seen.append(args[0]))
    loud = features(model, images)
    silence(encoder_of(model).adapters)
    quiet = features(model, images)
    for before, after in zip(seen[:3], seen[3:], strict=True):
        assert torch.equal(before, after)
    assert not torch.equal(loud.embedding, quiet.embedding)


def test_single_step_fusion_adds_the_sum_of_all_adapters_before_the_neck(build, images):
    model = build(fusion="single_step", multi_scale=False).eval()
    encoder = encoder_of(model)
    inputs, outputs = [], []
    encoder.neck.register_forward_hook(lambda _m, args, _o: inputs.append(args[0]))
    for adapter in encoder.adapters:
        adapter.register_forward_hook(lambda _m, _a, output: outputs.append(output))
    features(model, images)
    silence(encoder.adapters)
    total = sum(outputs)
    features(model, images)
    torch.testing.assert_close(inputs[0], inputs[1] + total)


def test_without_a_vit_the_running_sum_of_adapters_takes_its_place(build, images):
    model = build(vit="none")
    encoder = encoder_of(model)
    outputs, bridged, necked = [], [], []
    for adapter in encoder.adapters:
        adapter.register_forward_hook(lambda _m, _a, output: outputs.append(output))
    for bridge_to_decoder in encoder.bridges:
        bridge_to_decoder.register_forward_hook(lambda _m, args, _o: bridged.append(args[0]))
    encoder.neck.register_forward_hook(lambda _m, args, _o: necked.append(args[0]))
    features(model, images)
    for i, tokens in enumerate([*bridged, *necked]):
        torch.testing.assert_close(tokens, sum(outputs[: i + 1]))


def test_shapes_follow_the_image_size(build, images):
    found = features(build(), images)
    assert found.embedding.shape == (2, 256, 4, 4)
    assert found.multi_scale.shape == (2, 32, 16, 16)
    assert features(build(multi_scale=False), images).multi_scale is None
