"""A checkpoint that does not fit is blamed on the settings that differ, not on its weights."""

from __future__ import annotations

import pytest

from syncsam_lightning.errors import WeightsError
from syncsam_lightning.models import ScribblePromptUNet, SyncSAM
from syncsam_lightning.models.settings import ModelSettings
from syncsam_lightning.training.other_network import settings_named

SMALL = {"cnn": "none", "image_size": 64, "vit_width": 32, "vit_depth": 4, "vit_heads": 2}
SMALL["window_size"] = 3


def checkpoint_of(network):
    settings = ModelSettings.of(network)
    saved = {"class_path": settings.class_path, "init_args": settings.init_args}
    return {"hyper_parameters": {"network": saved}}


def told(checkpoint, network):
    with pytest.raises(WeightsError) as caught, settings_named(checkpoint, network):
        raise WeightsError("other frozen weights")
    return str(caught.value)


def test_the_settings_are_named_with_both_values():
    message = told(checkpoint_of(SyncSAM(**SMALL)), SyncSAM(**SMALL | {"vit_width": 48}))
    assert message.startswith(
        "the checkpoint was trained with another network: model.network.vit_width was 32 and is "
        "48 now. Give"
    )


def test_frozen_parts_are_named():
    network = SyncSAM(**SMALL, frozen=[])
    message = told(checkpoint_of(SyncSAM(**SMALL, frozen=("decoder",))), network)
    assert "model.network.frozen was ['decoder'] and is [] now" in message


def test_another_class_is_named():
    message = told(checkpoint_of(SyncSAM(**SMALL)), ScribblePromptUNet())
    assert "model.network was syncsam_lightning.models.SyncSAM and is " in message.replace("'", "")
    assert "vit_width" not in message


@pytest.mark.parametrize("checkpoint", [{}, {"hyper_parameters": {"network": None}}])
def test_what_no_setting_explains_is_told_as_it_is(checkpoint):
    network = SyncSAM(**SMALL)
    assert told(checkpoint, network) == "other frozen weights"
    assert told(checkpoint_of(network), network) == "other frozen weights"
