"""What a file asks for is bounded by the weights in it, before room is made."""

from __future__ import annotations

import inspect
import resource
import time
from typing import Any

import pytest
import torch

from syncsam_lightning import models
from syncsam_lightning.errors import ModelSettingsError
from syncsam_lightning.models import PromptableModel, SyncSAM
from syncsam_lightning.models.settings import ModelSettings
from syncsam_lightning.models.size_limit import SizeLimit

PROMISE = pytest.mark.promise(
    "Input: what a file declares is checked before room is made for it, and nesting has an end"
)
TINY = {"image_size": 32, "vit_width": 8, "vit_depth": 4, "vit_heads": 1, "window_size": 2}
LIMIT = SizeLimit(3_000, 400_000_000)
MODELS = [
    found
    for found in vars(models).values()
    if isinstance(found, type)
    and issubclass(found, PromptableModel)
    and found is not PromptableModel
]
NUMBERS = [
    (model, name)
    for model in MODELS
    for name, parameter in inspect.signature(model.__init__).parameters.items()
    if isinstance(parameter.default, int) and not isinstance(parameter.default, bool)
]


def settings(model: type, **arguments: Any) -> ModelSettings:
    return ModelSettings(f"syncsam_lightning.models.{model.__name__}", arguments)


def test_there_are_sizes_to_try():
    assert {(SyncSAM, "vit_width"), (SyncSAM, "vit_depth"), (SyncSAM, "image_size")} <= {*NUMBERS}


@PROMISE
@pytest.mark.parametrize(
    ("model", "name"), NUMBERS, ids=lambda value: getattr(value, "__name__", value)
)
def test_no_setting_of_any_model_makes_it_larger(model: type, name: str):
    # 3 · 2^28 is divisible by whatever a side, a width or a depth must be.
    before, begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(ModelSettingsError, match=r"for which its file has no weights|refuses"):
        settings(model, **{name: 3 * 2**28}).check_size("x", LIMIT)
    assert time.monotonic() - begin < 10
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 300 * 1024  # KiB; its weights would take thousands of times as much


@PROMISE
def test_many_small_parts_are_too_many():
    small = TINY | {"vit_depth": 4 * 10**8}
    with pytest.raises(ModelSettingsError, match=r"a SyncSAM with more than 3,000 tensors"):
        settings(SyncSAM, **small).check_size("x", LIMIT)


@PROMISE
def test_a_shape_that_has_no_bytes_does_not_raise_the_limit():
    expanded = torch.zeros(1).expand(10**6, 10**6)
    same = torch.zeros(1000)
    limit = SizeLimit.of({"a": expanded, "b": same, "c": same[:10]})
    assert limit.numbers - SizeLimit.of({}).numbers == 4 + 4 * 1000


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_model_is_allowed_by_its_own_weights(model: type):
    with torch.device("meta"):
        built = settings(model).build("x")
    numbers = sum(value.numel() * 4 for value in built.state_dict().values())
    own = SizeLimit(len(built.state_dict()) + 1_000, numbers)
    settings(model).check_size("x", own)


def test_a_network_without_its_frozen_weights_is_allowed():
    network = SyncSAM(**TINY)
    trained = network.state_dict()
    for key in network.frozen_keys():
        trained.pop(key)
    ModelSettings.of(network).check_size("x", SizeLimit.of(trained, without_frozen=True))


class OfAUser(SyncSAM):
    """Computes with numbers while it is built, which it could not without memory."""

    def __init__(self) -> None:
        super().__init__(cnn="resnet18", **TINY)
        self.rates = [rate.item() for rate in torch.linspace(0, 1, 3)]


def test_a_class_of_a_user_is_not_built_to_be_measured():
    ModelSettings(f"{__name__}.OfAUser").check_size("x.ckpt", SizeLimit(0, 0))
