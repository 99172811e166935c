from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from syncsam_lightning.errors import SyncSAMError, WeightsError
from syncsam_lightning.hub import write_folder
from syncsam_lightning.models import (
    ScribblePromptUNet,
    SyncSAM,
    frozen_checksum,
    initialise_frozen,
    weights_checksum,
)
from syncsam_lightning.models.weights.safetensors_file import write_safetensors
from syncsam_lightning.models.weights.slim_checkpoint import leave_frozen_out
from syncsam_lightning.prediction import Predictor, load_trained

SMALL = {
    "cnn": "resnet18",
    "image_size": 64,
    "vit_width": 32,
    "vit_depth": 4,
    "vit_heads": 2,
    "window_size": 3,
}


@pytest.fixture(scope="module")
def network() -> SyncSAM:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = SyncSAM(**SMALL)
    initialise_frozen(model, seed=0)
    return model.eval()


def save(path: Path, trained: SyncSAM, **changes: Any) -> Path:
    """Write what `syncsam fit` writes, as far as prediction is concerned."""
    settings = {
        "network": {"class_path": "syncsam_lightning.models.SyncSAM", "init_args": SMALL},
        "episode": {"feedback": "sigmoid"},
        "sam_checkpoint": "none",
        **changes,
    }
    state = {f"network.{key}": value for key, value in trained.state_dict().items()}
    checkpoint: dict[str, Any] = {"state_dict": state, "hyper_parameters": settings}
    leave_frozen_out(checkpoint, trained, prefix="network.", checksum=frozen_checksum(trained))
    torch.save(checkpoint, path)
    return path


@pytest.mark.promise(
    "Input: what a file declares is checked before room is made for it, and nesting has an end"
)
@pytest.mark.parametrize("key", ["vit_width", "vit_depth"])
def test_a_checkpoint_that_asks_for_more_than_its_weights_is_refused(
    tmp_path: Path, network: SyncSAM, key: str
):
    settings = {
        "class_path": "syncsam_lightning.models.SyncSAM",
        "init_args": SMALL | {key: 3 * 2**28},
    }
    path = save(tmp_path / "x.ckpt", network, network=settings)
    with pytest.raises(WeightsError, match=r"x\.ckpt asks for a SyncSAM with .* no weights"):
        load_trained(path)


def test_a_checkpoint_alone_rebuilds_the_model(tmp_path: Path, network: SyncSAM):
    trained = load_trained(save(tmp_path / "x.ckpt", network))
    assert trained.input_spec.feedback == "sigmoid"
    assert not trained.training
    for key, value in network.state_dict().items():
        assert trained.state_dict()[key].equal(value), key


def test_random_frozen_weights_may_not_stand_in_for_others(tmp_path: Path, network: SyncSAM):
    path = save(tmp_path / "x.ckpt", network)
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["frozen_checksum"] = "0" * 64
    torch.save(checkpoint, path)
    with pytest.raises(WeightsError, match=r"x\.ckpt: .* other frozen weights"):
        load_trained(path)


def test_sam_s_weights_that_are_not_to_be_had_are_named(tmp_path: Path, network: SyncSAM):
    path = save(tmp_path / "x.ckpt", network, sam_checkpoint=str(tmp_path / "sam.pth"))
    with pytest.raises(WeightsError, match=r"no SAM checkpoint at .*sam\.pth"):
        load_trained(path)
    assert load_trained(path, sam_checkpoint="none").input_spec.size == 64


def test_weights_alone_are_recognised_or_fill_a_model_that_is_given(
    tmp_path: Path, network: SyncSAM
):
    torch.save(network.state_dict(), tmp_path / "x.pt")
    assert weights_checksum(load_trained(tmp_path / "x.pt")) == weights_checksum(network)
    model = SyncSAM(**SMALL)
    assert load_trained(tmp_path / "x.pt", model) is model
    assert model.state_dict()["mask_decoder.med_token.weight"].equal(
        network.state_dict()["mask_decoder.med_token.weight"]
    )


def test_weights_of_nobody_knows_what_need_the_model_that_they_are_of(tmp_path: Path):
    torch.save({"layer.weight": torch.zeros(2, 2)}, tmp_path / "x.pt")
    with pytest.raises(WeightsError, match=r"x\.pt does not say which model .* --network"):
        load_trained(tmp_path / "x.pt")


def test_a_checkpoint_of_a_fit_that_names_no_model_is_not_guessed_at(
    tmp_path: Path, network: SyncSAM
):
    path = save(tmp_path / "x.ckpt", network, network=None)
    with pytest.raises(WeightsError, match=r"x\.ckpt does not say which model .* model=SyncSAM"):
        load_trained(path)


def test_a_safetensors_file_is_recognised_like_any_other(tmp_path: Path, network: SyncSAM):
    pytest.importorskip("safetensors")
    path = tmp_path / "x.safetensors"
    write_safetensors(network.state_dict(), path)
    for given in (None, SyncSAM(**SMALL)):
        assert weights_checksum(load_trained(path, given)) == weights_checksum(network)


def test_a_folder_of_a_hub_gives_its_model_or_fills_another(tmp_path: Path, network: SyncSAM):
    pytest.importorskip("safetensors")
    model = SyncSAM(**SMALL)
    model.input_spec = replace(model.input_spec, feedback="sigmoid")
    model.load_state_dict(network.state_dict())
    write_folder(model, tmp_path / "mine")
    for given in (None, SyncSAM(**SMALL)):
        trained = load_trained(tmp_path / "mine", given)
        assert given is None or trained is given
        assert weights_checksum(trained) == weights_checksum(network)
        assert Predictor(trained, device="cpu").feedback == "sigmoid"
    with pytest.raises(WeightsError, match="a layout that ScribblePromptUNet does not know"):
        load_trained(tmp_path / "mine", ScribblePromptUNet(width=4, depth=2))


def test_weights_that_are_not_finite_are_refused_wherever_they_are(tmp_path: Path):
    pytest.importorskip("safetensors")
    model = SyncSAM(**SMALL)
    initialise_frozen(model, seed=0)
    with torch.no_grad():
        model.mask_decoder.med_token.weight[0, 3] = float("nan")
    torch.save(model.state_dict(), tmp_path / "x.pt")
    write_folder(model, tmp_path / "mine")
    save(tmp_path / "x.ckpt", model)
    for place in ("x.pt", "x.ckpt", "mine"):
        with pytest.raises(
            SyncSAMError,
            match=r"tensor (network\.)?mask_decoder\.med_token\.weight holds .* finite",
        ):
            load_trained(tmp_path / place)


def test_weights_that_are_not_all_there_are_refused(tmp_path: Path, network: SyncSAM):
    state = network.state_dict()
    del state["mask_decoder.med_token.weight"]
    torch.save(state, tmp_path / "x.pt")
    with pytest.raises(WeightsError, match=r"missing 1: mask_decoder\.med_token\.weight"):
        load_trained(tmp_path / "x.pt", SyncSAM(**SMALL))


@pytest.mark.parametrize("class_path", ["os.system", "no_such_package.Model", "antigravity.fly"])
def test_a_checkpoint_can_bring_nothing_to_run(tmp_path: Path, network: SyncSAM, class_path: str):
    path = save(tmp_path / "x.ckpt", network, network={"class_path": class_path, "init_args": {}})
    with pytest.raises(WeightsError, match=class_path):
        load_trained(path)
    assert "antigravity" not in sys.modules


def test_settings_that_the_model_refuses_are_explained(tmp_path: Path, network: SyncSAM):
    wrong = {"class_path": "syncsam_lightning.models.SyncSAM", "init_args": {"cnn": "vgg"}}
    with pytest.raises(WeightsError, match="SyncSAM refuses its settings"):
        load_trained(save(tmp_path / "x.ckpt", network, network=wrong))


def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path):
    (tmp_path / "x.ckpt").write_text("x")
    with pytest.raises(WeightsError, match=r"x\.ckpt is not a PyTorch checkpoint"):
        load_trained(tmp_path / "x.ckpt")


def test_no_lightning_is_imported(tmp_path: Path, network: SyncSAM):
    path = save(tmp_path / "x.ckpt", network)
    program = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("lightning", "pytorch_lightning", "jsonargparse", "lance"):
            raise ImportError(name + " is not installed")
sys.meta_path.insert(0, Absent())
import numpy as np
from syncsam_lightning.prediction import Predictor
predictor = Predictor.from_checkpoint({str(path)!r}, device="cpu")
predictor.set_image(np.arange(40 * 30, dtype=np.uint16).reshape(40, 30))
print(predictor.predict(box=[3, 4, 20, 30]).masks.shape)
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert result.stdout == "(1, 40, 30)\n", result.stderr


def test_a_predictor_answers_as_the_model_does(tmp_path: Path, network: SyncSAM):
    predictor = Predictor.from_checkpoint(save(tmp_path / "x.ckpt", network), device="cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    predictor.set_image(pixels)
    answer = predictor.predict(box=[3, 4, 20, 30])
    from syncsam_lightning.prompts import Prompts

    with torch.no_grad():
        features = network.encode(torch.from_numpy(pixels).permute(2, 0, 1)[None])
        expected = network.decode(
            features,
            Prompts(torch.tensor([0]), boxes=torch.tensor([[3.0, 4, 20, 30]])),
        )
    np.testing.assert_allclose(answer.low_res_logits, expected.numpy(), rtol=1e-5, atol=1e-5)
