from __future__ import annotations

import pytest
import torch

from syncsam_lightning.errors import UnsupportedPromptError, WeightsError
from syncsam_lightning.models import load_weights
from syncsam_lightning.models.baselines import ScribblePromptUNet
from syncsam_lightning.prompts import Prompts

SIDE = 16


@pytest.fixture
def model() -> ScribblePromptUNet:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ScribblePromptUNet(image_size=SIDE, width=6, depth=2).eval()


@pytest.fixture
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (2, 3, SIDE, SIDE), generator=generator, dtype=torch.uint8)


@pytest.fixture
def prompts() -> Prompts:
    generator = torch.Generator().manual_seed(2)
    return Prompts(
        image_index=torch.tensor([1, 0, 1]),
        boxes=torch.tensor([[0.0, 0, 16, 16], [3, 5, 9, 12], [4, 4, 5, 5]]),
        points=torch.tensor([[[0.0, 0], [15, 15]], [[7, 9], [3, 2]], [[4, 4], [0, 0]]]),
        point_labels=torch.tensor([[1, 0], [1, 1], [1, -1]]),
        mask_logits=torch.randn(3, SIDE, SIDE, generator=generator),
    )


def test_answers_have_the_side_of_the_input(model, images, prompts):
    spec = model.input_spec
    assert (spec.size, spec.mask_size) == (SIDE, SIDE)
    assert spec.prompts == {"boxes", "points", "masks"}
    assert model.decode(model.encode(images), prompts).shape == (3, SIDE, SIDE)


def test_a_batch_of_objects_equals_one_by_one(model, images, prompts):
    with torch.no_grad():
        features = model.encode(images)
        together = model.decode(features, prompts)
        alone = [model.decode(features, prompts[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)


def test_an_object_is_seen_on_its_own_image(model, images, prompts):
    other = images.clone()
    other[0] = 255 - other[0]
    with torch.no_grad():
        before = model.decode(model.encode(images), prompts)
        after = model.decode(model.encode(other), prompts)
    assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [True, False, True]


def test_gradients_reach_every_parameter(model, images, prompts):
    model.train()
    model.decode(model.encode(images), prompts).square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


def test_no_prompt_at_all_is_refused(model, images):
    with pytest.raises(UnsupportedPromptError, match="ScribblePromptUNet was given no prompt"):
        model.decode(model.encode(images), Prompts(torch.tensor([0])))


def test_no_objects_give_no_masks(model, images):
    none = Prompts(torch.zeros(0, dtype=torch.long), torch.zeros(0, 4))
    assert model.decode(model.encode(images), none).shape == (0, SIDE, SIDE)


def test_it_runs_in_bfloat16(model, images, prompts):
    model = model.bfloat16()
    with torch.no_grad():
        assert model.decode(model.encode(images), prompts).isfinite().all()


def test_images_of_another_size_are_refused(model):
    with pytest.raises(ValueError, match=r"images must be \(B, 3, 16, 16\)"):
        model.encode(torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image_size": 100}, "image_size=100 can't be halved depth=4 times: use a multiple of 16"),
        ({"width": 0}, "width and depth must be at least 1, got width=0"),
        ({"depth": 0}, "depth=0"),
    ],
)
def test_arguments_that_make_no_network_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ScribblePromptUNet(**arguments)


def test_official_names_are_recognised_whatever_wraps_them(model, tmp_path):
    state = {f"module.{key}": torch.rand(value.shape) for key, value in model.state_dict().items()}
    torch.save({"model": state}, tmp_path / "w.pt")
    report = load_weights(model, tmp_path / "w.pt", strict=True)
    assert report.layout == "scribbleprompt"
    loaded = model.state_dict()
    assert all(torch.equal(loaded[key.removeprefix("module.")], state[key]) for key in state)


def test_sam_s_checkpoint_has_nothing_for_it(model):
    state = {"image_encoder.patch_embed.proj.bias": torch.zeros(768)}
    with pytest.raises(WeightsError, match="a layout that ScribblePromptUNet does not know"):
        load_weights(model, state)
