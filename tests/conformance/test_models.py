"""Every promptable model keeps the contract. A model joins by a line in MODELS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from syncsam_lightning.errors import UnsupportedPromptError
from syncsam_lightning.geometry import image_origins
from syncsam_lightning.models import (
    FTSAM,
    SAM,
    ImageFeatures,
    IMISNet,
    MedSAM,
    PromptableModel,
    SAMMed2D,
    ScribblePromptSAM,
    ScribblePromptUNet,
    SyncSAM,
    frozen_checksum,
    load_weights,
)
from syncsam_lightning.models.settings import ModelSettings
from syncsam_lightning.prompts import MixedPrompts, Prompts

SIDE = 64
VIT = {"image_size": SIDE, "vit_width": 32, "vit_depth": 4, "vit_heads": 2, "window_size": 3}

MODELS: dict[str, Callable[[], PromptableModel]] = {
    "SyncSAM": lambda: SyncSAM(cnn="resnet18", **VIT),
    "SyncSAM, SAM's decoder": lambda: SyncSAM(
        cnn="none", vit="trained", med_token=False, multi_scale=False, frozen=(), **VIT
    ),
    "SAM": lambda: SAM(**VIT),
    "SAM, always multimask": lambda: SAM(multimask="always", **VIT),
    "FTSAM": lambda: FTSAM(**VIT),
    "MedSAM": lambda: MedSAM(**VIT),
    "SAMMed2D": lambda: SAMMed2D(**VIT),
    "SAMMed2D, BGR": lambda: SAMMed2D(channels="bgr", **VIT),
    "IMISNet": lambda: IMISNet(embed_dim=48, **VIT),
    "ScribblePromptSAM": lambda: ScribblePromptSAM(**VIT),
    "ScribblePromptUNet": lambda: ScribblePromptUNet(image_size=SIDE, width=8, depth=3),
}
"""Small variants of every model, by name."""

KINDS = {"boxes": ("boxes",), "points": ("points", "point_labels"), "masks": ("mask_logits",)}
COMBINATIONS = [("boxes",), ("points",), ("points", "masks"), ("boxes", "points"), ("masks",)]


@dataclass(frozen=True)
class Case:
    """A model in eval mode, two images and five objects that lie on them in mixed order."""

    build: Callable[[], PromptableModel]
    model: PromptableModel
    images: torch.Tensor
    sizes: torch.Tensor
    prompts: Prompts

    def having(self, kinds: tuple[str, ...]) -> Prompts:
        return having(self.prompts, kinds)

    def supported(self) -> list[tuple[str, ...]]:
        known = self.model.input_spec.prompts
        return [kinds for kinds in COMBINATIONS if known.issuperset(kinds)]

    def encode(self) -> ImageFeatures:
        return self.model.encode(self.images, self.sizes)


def having(prompts: Prompts, kinds: tuple[str, ...]) -> Prompts:
    dropped = [name for kind, names in KINDS.items() if kind not in kinds for name in names]
    return replace(prompts, **dict.fromkeys(dropped))


def seeded(build: Callable[[], PromptableModel]) -> PromptableModel:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return build()


@pytest.fixture(params=MODELS)
def case(request: pytest.FixtureRequest) -> Case:
    build = MODELS[request.param]
    model = seeded(build).eval()
    side, mask_side = model.input_spec.size, model.input_spec.mask_size
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator)

    plans = [model.input_spec.plan(*shape) for shape in ((side, side // 2), (side // 2, side - 8))]
    prompts = Prompts(
        image_index=torch.tensor([1, 0, 1, 0, 0]),
        boxes=(draw(5, 2, 2).sort(1).values * (side - 1)).flatten(1),
        points=(draw(5, 3, 2) * (side - 1)).round(),
        point_labels=torch.tensor([[1, -1, -1], [1, 0, 1], [0, 1, 1], [1, 1, -1], [1, -1, -1]]),
        mask_logits=torch.randn(5, mask_side, mask_side, generator=generator),
    )
    images = (draw(2, 3, side, side) * 255).to(torch.uint8)
    sizes = torch.tensor([plan.resized for plan in plans])
    return Case(build, model, images, sizes, prompts)


# What it is


def test_it_says_what_it_takes(case: Case):
    spec = case.model.input_spec
    assert spec.fit == type(case.model).image_fit
    assert spec.prompts <= set(KINDS)
    assert spec.prompts & {"boxes", "points"}
    assert case.model.layouts[-1].to_ours("any.name") == "any.name"


def test_it_gives_one_mask_of_the_announced_size_per_object(case: Case):
    features = case.encode()
    side = case.model.input_spec.mask_size
    for kinds in case.supported():
        logits = case.model.decode(features, case.having(kinds))
        assert logits.shape == (5, side, side), kinds
        assert logits.isfinite().all(), kinds


def test_its_settings_build_it_again(case: Case):
    settings = ModelSettings.of(case.model)
    assert settings.class_path == f"syncsam_lightning.models.{type(case.model).__name__}"
    again = settings.build("a test")
    assert ModelSettings.of(again) == settings
    again.load_state_dict(case.model.state_dict())
    assert again.frozen_keys() == case.model.frozen_keys()
    with torch.no_grad():
        features = again.eval().encode(case.images, case.sizes)
    assert features.embedding.equal(case.encode().embedding)


# Images


def test_images_together_equal_images_alone(case: Case):
    with torch.no_grad():
        together = case.encode()
        for i in range(2):
            alone = case.model.encode(case.images[i : i + 1], case.sizes[i : i + 1])
            for field in fields(ImageFeatures):
                both, single = getattr(together, field.name), getattr(alone, field.name)
                assert (both is None) == (single is None)
                if both is not None:
                    torch.testing.assert_close(both[i : i + 1], single, rtol=1e-4, atol=1e-4)


def test_what_lies_beside_an_image_does_not_matter(case: Case):
    spec = case.model.input_spec
    origins = image_origins(case.sizes, spec.size, spec.fit).tolist()
    noisy = case.images.clone().fill_(200)
    for i, ((top, left), (height, width)) in enumerate(
        zip(origins, case.sizes.tolist(), strict=True)
    ):
        part = (i, slice(None), slice(top, top + height), slice(left, left + width))
        noisy[part] = case.images[part]
    assert (case.sizes == spec.size).all() or not noisy.equal(case.images)
    with torch.no_grad():
        found = case.model.encode(noisy, case.sizes).embedding
    assert found.equal(case.encode().embedding)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int16])
def test_the_type_of_the_pixels_does_not_matter(case: Case, dtype: torch.dtype):
    with torch.no_grad():
        assert case.model.encode(case.images.to(dtype), case.sizes).embedding.equal(
            case.encode().embedding
        )


def test_images_of_another_shape_are_refused_with_the_expected_one(case: Case):
    side = case.model.input_spec.size
    with pytest.raises(ValueError, match=rf"images must be \(B, 3, {side}, {side}\)"):
        case.model.encode(case.images[..., :-1])
    with pytest.raises(ValueError, match=r"sizes must be \(2, 2\)"):
        case.model.encode(case.images, case.sizes[0])


# Prompts


def test_objects_on_several_images_in_any_order_equal_one_by_one(case: Case):
    with torch.no_grad():
        features = case.encode()
        for kinds in case.supported():
            prompts = case.having(kinds)
            together = case.model.decode(features, prompts)
            shuffled = torch.tensor([3, 0, 4, 2, 1])
            other = case.model.decode(features, prompts[shuffled])
            torch.testing.assert_close(other, together[shuffled], rtol=1e-4, atol=1e-4)
            for one in range(prompts.num_objects):
                alone = case.model.decode(features, prompts[one : one + 1])
                torch.testing.assert_close(together[one : one + 1], alone, rtol=1e-4, atol=1e-4)


def test_mixed_prompts_say_the_same(case: Case):
    with torch.no_grad():
        features = case.encode()
        for kinds in case.supported():
            prompts = case.having(kinds)
            mixed = MixedPrompts.of(prompts, case.model.input_spec.mask_size)
            expected = case.model.decode(features, prompts)
            torch.testing.assert_close(
                case.model.decode(features, mixed), expected, rtol=1e-5, atol=1e-5
            )


def test_objects_with_kinds_of_their_own_equal_one_by_one(case: Case):
    side = case.model.input_spec.mask_size
    singles = [
        MixedPrompts.of(case.having(kinds)[i : i + 1], side)
        for i, kinds in zip(range(5), 5 * case.supported(), strict=False)
    ]
    most = max(single.num_points for single in singles)
    # In front, so that a box stays behind the clicks.
    pads = [(most - single.num_points, 0) for single in singles]
    together = MixedPrompts(
        image_index=torch.cat([single.image_index for single in singles]),
        points=torch.cat(
            [F.pad(s.points, (0, 0, *pad)) for s, pad in zip(singles, pads, strict=True)]
        ),
        point_labels=torch.cat(
            [F.pad(s.point_labels, pad, value=-1) for s, pad in zip(singles, pads, strict=True)]
        ),
        mask_logits=torch.cat([single.mask_logits for single in singles]),
        has_mask=torch.cat([single.has_mask for single in singles]),
    )
    with torch.no_grad():
        features = case.encode()
        expected = torch.cat([case.model.decode(features, together[i : i + 1]) for i in range(5)])
        torch.testing.assert_close(
            case.model.decode(features, together), expected, rtol=1e-4, atol=1e-4
        )
        assert [single.count_given.item() for single in singles] == [
            together[i : i + 1].count_given.item() for i in range(5)
        ]


def test_no_object_gives_no_mask(case: Case):
    features = case.encode()
    side = case.model.input_spec.mask_size
    for kinds in case.supported():
        assert case.model.decode(features, case.having(kinds)[:0]).shape == (0, side, side)


def test_each_kind_of_prompt_matters(case: Case):
    with torch.no_grad():
        features = case.encode()
        answers = [case.model.decode(features, case.having(kinds)) for kinds in case.supported()]
    for i, first in enumerate(answers):
        for second in answers[:i]:
            assert not torch.allclose(first, second)


def test_where_a_prompt_is_matters(case: Case):
    with torch.no_grad():
        features = case.encode()
        for kinds in {("boxes",), ("points",)} & set(case.supported()):
            prompts = case.having(kinds)
            moved = replace(
                prompts,
                boxes=None if prompts.boxes is None else prompts.boxes * 0.5,
                points=None if prompts.points is None else prompts.points * 0.5,
            )
            before, after = (case.model.decode(features, asked) for asked in (prompts, moved))
            assert not torch.allclose(before, after)


def test_prompts_that_it_does_not_take_are_refused_before_any_computation(
    case: Case, monkeypatch: pytest.MonkeyPatch
):
    features = case.encode()

    def computes(*_args: Any, **_kwargs: Any) -> None:
        raise AssertionError("computed before the prompts were checked")

    monkeypatch.setattr(nn.Module, "__call__", computes)
    name = type(case.model).__name__
    for kind in set(KINDS) - case.model.input_spec.prompts:
        with pytest.raises(UnsupportedPromptError, match=f"{name} does not take {kind} as prompts"):
            case.model.decode(features, case.having((kind,)))
    with pytest.raises(UnsupportedPromptError, match=f"{name} was given no prompt"):
        case.model.decode(features, case.having(()))


# Training


def supported_losses(case: Case) -> torch.Tensor:
    features = case.encode()
    answers = [case.model.decode(features, case.having(kinds)) for kinds in case.supported()]
    return torch.stack([answer.square().mean() for answer in answers]).sum()


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_equal_inputs_give_equal_answers_and_gradients(case: Case):
    runs = []
    for _ in range(2):
        model = seeded(case.build).train()
        supported_losses(replace(case, model=model)).backward()
        runs.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    first, second = runs
    assert first.keys() == second.keys()
    assert all(first[name].equal(second[name]) for name in first)


def test_every_trained_parameter_gets_a_gradient_and_no_other(case: Case):
    model = case.model.train()
    # One kind of prompt at a time: DistributedDataParallel waits for every parameter in each step.
    for kinds in case.supported():
        model.zero_grad()
        model.decode(case.encode(), case.having(kinds)).square().mean().backward()
        with_gradient = {name for name, p in model.named_parameters() if p.grad is not None}
        trained = {name for name, p in model.named_parameters() if p.requires_grad}
        assert with_gradient == trained, kinds
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_a_step_moves_the_trained_parts_and_no_frozen_weight(case: Case):
    model = case.model.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    supported_losses(case).backward()
    optimizer.step()
    moved = {key for key, value in model.state_dict().items() if not value.equal(before[key])}
    assert moved.isdisjoint(model.frozen_keys())
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained.isdisjoint(model.frozen_keys())
    for part in {name.split(".")[0] for name in trained}:
        assert any(name.startswith(part) for name in moved & trained), part


def test_frozen_parts_stay_in_eval_mode(case: Case):
    model = case.model.train()
    assert model.training
    for frozen in model.frozen_modules:
        assert not any(module.training for module in frozen.modules())
    assert not any(module.training for module in model.eval().modules())


def test_detached_features_keep_the_encoder_out_of_the_graph(case: Case):
    model = case.model.train()
    features = case.encode().detach()
    model.decode(features, case.having(case.supported()[0])).sum().backward()
    encoder = [p.grad for n, p in model.named_parameters() if n.startswith("image_encoder.")]
    assert all(grad is None for grad in encoder)


# Weights


def test_its_state_goes_into_another_of_its_kind(case: Case):
    with torch.random.fork_rng():
        torch.manual_seed(99)
        other = case.build().eval()
    report = load_weights(other, case.model.state_dict(), strict=True)
    assert (report.missing, report.unexpected, report.resized) == ((), (), ())
    prompts = case.having(case.supported()[0])
    with torch.no_grad():
        expected = case.model.decode(case.encode(), prompts)
        found = other.decode(other.encode(case.images, case.sizes), prompts)
    assert found.equal(expected)
    assert frozen_checksum(other) == frozen_checksum(case.model)


def test_weights_without_the_frozen_ones_are_recognised(case: Case):
    trained = {
        key: value
        for key, value in case.model.state_dict().items()
        if key not in case.model.frozen_keys()
    }
    report = load_weights(seeded(case.build), trained)
    assert set(report.loaded) == set(trained)
    assert set(report.missing) == case.model.frozen_keys()
