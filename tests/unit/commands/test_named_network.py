"""What --network and --options ask for is built, or refused in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from syncsam_lightning.commands.named_network import named_network
from syncsam_lightning.errors import ModelSettingsError, WeightsError
from syncsam_lightning.models import SAM, SyncSAM
from syncsam_lightning.models.weights.slim_checkpoint import CHECKSUM_KEY

VIT = {"image_size": 64, "vit_width": 32, "vit_depth": 4, "vit_heads": 2}
CLASS = "syncsam_lightning.models.SyncSAM"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "w.pth"
    torch.save(SyncSAM(cnn="none", **VIT).state_dict(), path)
    return str(path)


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    return save(tmp_path, CLASS)


def save(folder: Path, class_path: str) -> str:
    content = {
        "state_dict": {"network.a": torch.zeros(1)},
        "hyper_parameters": {"network": {"class_path": class_path, "init_args": VIT}},
        CHECKSUM_KEY: "0",
    }
    torch.save(content, folder / "x.ckpt")
    return str(folder / "x.ckpt")


def test_nothing_is_built_if_nothing_is_asked_for(weights: str):
    assert named_network(None, None, weights) is None
    assert named_network(None, {}, weights) is None


@pytest.mark.parametrize("network", [None, "SyncSAM", CLASS])
def test_options_win_over_what_the_weights_show(weights: str, network: str | None):
    model = named_network(network, {"image_size": 96}, weights)
    assert isinstance(model, SyncSAM)
    assert model.input_spec.size == 96
    assert model.image_encoder.cnn is None  # as the weights show


@pytest.mark.parametrize(
    ("network", "options", "words"),
    [
        ("syncsam", None, r"no model 'syncsam'; did you mean SyncSAM\? Known are .*SyncSAM"),
        ("Foo", None, "no model 'Foo'; known are .*MedSAM.* package.module.Class"),
        ("PromptableModel", None, "no model 'PromptableModel'"),
        ("load_weights", None, "no model 'load_weights'"),
        ("no_such.Model", None, "--network no_such.Model: No module named"),
        ("torch.nn.Linear", None, "is no PromptableModel"),
        ("SyncSAM", {"image_size": "abc"}, "SyncSAM takes image_size as int, got 'abc'"),
        (None, {"image_size": True}, "SyncSAM takes image_size as int, got True"),
        ("SAM", {"image_size": 64.5}, "SAM takes image_size as int, got 64.5"),
        ("SyncSAM", {"med_token": 1}, "SyncSAM takes med_token as bool, got 1"),
        (None, {"foo": 3}, "SyncSAM has no argument 'foo'; it takes .*med_token.*image_size"),
        ("SAM", {"cnn": "none"}, "SAM has no argument 'cnn'; it takes image_size"),
    ],
)
def test_what_can_not_be_built_is_told(
    weights: str, network: str | None, options: dict[str, Any] | None, words: str
):
    with pytest.raises(ModelSettingsError, match=words):
        named_network(network, options, weights)


def test_options_alone_need_weights_that_are_recognised(tmp_path: Path):
    torch.save(SAM(**VIT).state_dict(), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="add --network SAM, or --network MedSAM"):
        named_network(None, {"image_size": 64}, str(tmp_path / "w.pth"))
    with pytest.raises(ModelSettingsError, match=r"me/mine names its own .* leave --options out"):
        named_network(None, {"image_size": 64}, "me/mine")


@pytest.mark.parametrize(
    ("network", "options"),
    [("SAM", None), ("SyncSAM", {"image_size": 64}), (None, {"image_size": 64})],
)
def test_a_checkpoint_of_a_fit_names_its_network_itself(
    checkpoint: str, network: str | None, options: dict[str, Any] | None
):
    words = r"x\.ckpt is a checkpoint .* names its network, SyncSAM, .* leave --network and --opt"
    with pytest.raises(ModelSettingsError, match=words):
        named_network(network, options, checkpoint)


@pytest.mark.parametrize("network", ["SyncSAM", "syncsam_lightning.models.syncsam.SyncSAM"])
def test_to_name_the_network_of_a_checkpoint_once_more_does_no_harm(checkpoint: str, network: str):
    assert named_network(network, None, checkpoint) is None


def test_a_network_that_has_moved_is_named_by_the_user(tmp_path: Path):
    model = named_network("SyncSAM", {"cnn": "none", **VIT}, save(tmp_path, "gone.Network"))
    assert isinstance(model, SyncSAM)


@pytest.mark.parametrize("checkpoint", ["folder", "owner/name"])
def test_what_names_its_network_itself_takes_no_other(checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    with pytest.raises(ModelSettingsError, match=f"{checkpoint} names its network .* leave"):
        named_network("SyncSAM", None, checkpoint)
