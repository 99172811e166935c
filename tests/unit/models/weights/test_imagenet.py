from __future__ import annotations

import re
from urllib.error import URLError

import pytest
import torch
import torchvision
from torchvision.models import ResNet18_Weights

from syncsam_lightning.errors import WeightsError
from syncsam_lightning.models import load_imagenet_weights

FILE = "resnet18-f37072fd.pth"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty torch.hub folder, and a network that can't be reached."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))

    def unreachable(*_args, **_kwargs):
        raise URLError("no network")

    monkeypatch.setattr(torch.hub, "urlopen", unreachable)
    return tmp_path / "checkpoints"


def test_cached_weights_reach_the_cnn(build, hub):
    hub.mkdir()
    torch.manual_seed(3)
    state = torchvision.models.resnet18().state_dict()
    torch.save(state, hub / FILE)
    model = build()
    report = load_imagenet_weights(model)
    cnn = model.image_encoder.cnn.state_dict()
    assert report.layout == "imagenet"
    assert set(report.loaded) == {f"image_encoder.cnn.{key}" for key in cnn}
    assert report.missing == ()
    assert report.unexpected == ("fc.weight", "fc.bias")
    assert all(torch.equal(cnn[key], state[key]) for key in cnn)


def test_offline_the_file_its_folder_and_the_switch_are_named(build, hub):
    with pytest.raises(WeightsError) as caught:
        load_imagenet_weights(build())
    message = str(caught.value)
    assert f"Put {FILE} from {ResNet18_Weights.IMAGENET1K_V1.url} into {hub}" in message
    assert "cnn_weights: none" in message
    assert "no network" in message


@pytest.mark.promise(
    "Supply: weights that are downloaded are used only if their hash is the known one"
)
def test_a_damaged_cached_file_is_told(build, hub):
    hub.mkdir()
    (hub / FILE).write_bytes(b"broken")
    with pytest.raises(WeightsError, match=re.escape(f"{hub} (replacing a damaged one)")):
        load_imagenet_weights(build())


def test_without_a_cnn_nothing_is_loaded(build, hub):
    report = load_imagenet_weights(build(cnn="none"))
    assert report.loaded == ()
