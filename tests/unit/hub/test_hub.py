"""Models as folders, and on a hub that runs on this machine."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from syncsam_lightning.cli.main import main
from syncsam_lightning.errors import HubError, ModelSettingsError
from syncsam_lightning.hub import (
    CARD,
    CONFIG,
    WEIGHTS,
    ModelCard,
    TrainingNotes,
    check_repository,
    find_weights,
    from_pretrained,
    load_pretrained,
    push_to_hub,
    read_folder,
    write_folder,
)
from syncsam_lightning.hub.remote import is_repository
from syncsam_lightning.models import SyncSAM, load_weights, weights_checksum
from syncsam_lightning.models.settings import ModelSettings

pytest.importorskip("safetensors")


@pytest.fixture(scope="module")
def model() -> SyncSAM:
    sizes = {"image_size": 32, "vit_width": 8, "vit_depth": 4, "vit_heads": 1, "window_size": 2}
    network = SyncSAM(cnn="none", **sizes)
    network.input_spec = replace(network.input_spec, feedback="sigmoid")
    return network


@pytest.fixture
def folder(tmp_path: Path, model: SyncSAM) -> Path:
    place = tmp_path / "mine"
    write_folder(model, place, card=ModelCard(model, "mine").text())
    return place


def change(folder: Path, **values: object) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | values))


# Folders


def test_a_folder_gives_the_model_back_bit_for_bit(folder: Path, model: SyncSAM):
    assert model.frozen_keys()
    loaded = read_folder(folder)
    assert weights_checksum(loaded.model) == weights_checksum(model)
    assert loaded.model.frozen_keys() == model.frozen_keys()
    assert loaded.model.input_spec == model.input_spec
    assert not loaded.model.training
    assert sorted(path.name for path in folder.iterdir()) == sorted([CARD, CONFIG, WEIGHTS])


def test_weights_of_something_else_are_refused(folder: Path):
    change(folder, weights_sha256="0" * 64)
    with pytest.raises(HubError, match="other weights than config"):
        read_folder(folder)


def test_weights_of_another_class_are_refused(folder: Path, model: SyncSAM):
    settings = ModelSettings.of(model).init_args | {"vit_depth": 8}
    change(folder, model={"class_path": "syncsam_lightning.models.SyncSAM", "init_args": settings})
    with pytest.raises(HubError, match=r"model\.safetensors does not hold the weights of config"):
        read_folder(folder)


def test_a_folder_stands_for_its_file_of_weights(folder: Path, model: SyncSAM):
    found = find_weights(folder)
    assert found == folder / WEIGHTS
    assert load_weights(model, found, strict=True).layout == "syncsam"
    change(folder, weights_sha256="0" * 64)
    with pytest.raises(HubError, match="other weights than config"):
        find_weights(folder)
    assert find_weights("start.pth") == Path("start.pth")


def test_damaged_weights_are_refused(folder: Path):
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:-100])
    with pytest.raises(HubError, match=r"model\.safetensors is not .* or is damaged"):
        read_folder(folder)
    (folder / WEIGHTS).unlink()
    with pytest.raises(HubError, match="has no weights"):
        read_folder(folder)


def test_a_pickle_in_the_place_of_the_weights_is_not_read(folder: Path):
    torch.save({"a": torch.zeros(1)}, folder / WEIGHTS)
    with pytest.raises(HubError, match="is not a safetensors file"):
        read_folder(folder)


def test_a_config_can_bring_nothing_to_run(folder: Path):
    change(folder, model={"class_path": "antigravity.Model", "init_args": {}})
    with pytest.raises(ModelSettingsError, match=r"antigravity\.Model, which is not imported"):
        read_folder(folder)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"format": 9}, "format 9"),
        ({"feedback": "x"}, "feedback must be one of logits"),
        ({"windows": "lung"}, "windows must be a list of names"),
        ({"windows": [400, 40]}, "windows must be a list of names"),
        ({"windows": ["lung", "fisheye"]}, "windows: window 'fisheye' is none of"),
    ],
)
def test_a_config_that_this_version_can_not_read_is_explained(
    folder: Path, values: dict[str, object], words: str
):
    change(folder, **values)
    with pytest.raises(HubError, match=words):
        read_folder(folder)


def test_a_config_nested_beyond_any_stack_is_refused(folder: Path):
    # Found by fuzzing.
    (folder / CONFIG).write_text("[" * 100_000)
    with pytest.raises(HubError, match=r"config\.json can't be read: maximum recursion depth"):
        read_folder(folder)


def test_a_config_of_another_program_is_told(folder: Path):
    (folder / CONFIG).write_text('{"model_type": "sam"}')
    with pytest.raises(HubError, match="config of another program"):
        read_folder(folder)


# Cards


def test_a_card_tells_training_and_results(tmp_path: Path, model: SyncSAM):
    checkpoint = {
        "state_dict": {},
        "epoch": 7,
        "global_step": 90,
        "hyper_parameters": {"lr": 1e-4, "weights": "/home/me/start.pth"},
        "datamodule_hyper_parameters": {
            "_class_path": "syncsam_datamodules.mask_folder.MaskFolder",
            "root": "/home/me/images",
            "batch_size": 2,
        },
    }
    torch.save(checkpoint, tmp_path / "x.ckpt")
    results = tmp_path / "test"
    results.mkdir()
    (results / "summary.csv").write_text(
        "protocol,metric,group,name,masks,mean,ci_low,ci_high\n"
        "box,dice,all,,40,0.8123,0.79,0.83\n"
        "box,iou,all,,40,0.7,0.6,0.8\n"
        "box,dice,modality,ct,40,0.8123,,\n"
    )
    (results / "run.json").write_text(
        json.dumps({"weights_sha256": "ab" * 32, "data": {"class": "X", "test_images": 9}})
    )
    text = ModelCard(
        model, "mine", TrainingNotes.of(tmp_path / "x.ckpt"), {"own": results}, "apache-2.0"
    ).text()
    assert text.startswith("---\nlibrary_name: syncsam-lightning\n")
    assert "license: apache-2.0" in text
    assert "90 steps, 7 finished epochs" in text
    assert "datamodule: MaskFolder" in text
    assert "weights: start.pth" in text
    assert "/home" not in text
    assert "| box | all |  | 40 | 0.812 | 0.790 to 0.830 |" in text
    assert "| box | modality | ct | 40 | 0.812 | - |" in text
    assert "9 test images of X. Weights abababababab." in text
    assert "includes the weights that training left frozen" in text


def test_a_card_without_records_says_so(model: SyncSAM):
    assert "Nothing is known of it" in ModelCard(model, "mine").text()


def test_results_that_are_none_are_named(tmp_path: Path, model: SyncSAM):
    with pytest.raises(HubError, match=r"summary\.csv can't be read as a result"):
        ModelCard(model, "mine", results={"own": tmp_path}).text()


# A hub


def test_what_is_pushed_comes_back_bit_for_bit(hub: str, folder: Path, model: SyncSAM):
    address = push_to_hub(folder, "me/tiny", endpoint=hub, token="hf_x")
    assert re.fullmatch(r".*/me/tiny/commit/[0-9a-f]{40}", address)
    loaded = load_pretrained("me/tiny", endpoint=hub)
    assert weights_checksum(loaded.model) == weights_checksum(model)
    assert loaded.model.input_spec.feedback == "sigmoid"
    assert isinstance(from_pretrained("me/tiny", endpoint=hub), SyncSAM)


def test_a_repository_stands_for_its_file_of_weights(
    hub: str, folder: Path, model: SyncSAM, monkeypatch: pytest.MonkeyPatch
):
    push_to_hub(folder, "me/tiny", endpoint=hub, token="hf_x")
    # The package reads HF_ENDPOINT once, when it is imported.
    constants = "huggingface_hub.constants"
    monkeypatch.setattr(f"{constants}.ENDPOINT", hub)
    address = f"{hub}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", address)
    found = find_weights("me/tiny")
    assert found.read_bytes() == (folder / WEIGHTS).read_bytes()


def test_a_repository_that_is_not_there_is_told(hub: str):
    with pytest.raises(HubError, match="me/other could not be fetched"):
        load_pretrained("me/other", endpoint=hub)


def test_a_model_without_a_card_is_not_pushed(hub: str, folder: Path):
    (folder / CARD).unlink()
    with pytest.raises(HubError, match=r"no model card README\.md"):
        push_to_hub(folder, "me/tiny", endpoint=hub)


def test_who_may_not_write_is_told(hub: str, folder: Path):
    with pytest.raises(HubError, match=r"could not be sent to me/tiny .* does HF_TOKEN"):
        push_to_hub(folder, "me/tiny", endpoint=hub, token="hf_other")


def test_a_hub_that_can_not_be_reached_is_told(folder: Path):
    pytest.importorskip("huggingface_hub")
    with pytest.raises(HubError) as refusal:
        push_to_hub(folder, "me/tiny", endpoint="http://127.0.0.1:9", token="hf_x")
    told = str(refusal.value)
    assert told.startswith(f"{folder} could not be sent to me/tiny (ConnectError: ")
    assert "HF_ENDPOINT" in told
    assert told.endswith("The folder is whole: push it again.")


def test_a_hub_that_does_not_answer_is_not_waited_for(caplog: pytest.LogCaptureFixture):
    pytest.importorskip("huggingface_hub")
    begun = time.monotonic()
    with pytest.raises(
        HubError, match=r"me/tiny could not be fetched \(ConnectError: .*HF_ENDPOINT"
    ):
        load_pretrained("me/tiny", endpoint="http://127.0.0.1:9")
    assert time.monotonic() - begun < 30  # the package's own retries take over a minute
    assert "Retry" not in caplog.text


def test_without_a_hub_the_copy_in_the_cache_is_used_and_told(
    hub: str, folder: Path, model: SyncSAM, caplog: pytest.LogCaptureFixture
):
    push_to_hub(folder, "me/tiny", endpoint=hub, token="hf_x")
    load_pretrained("me/tiny", endpoint=hub)
    loaded = load_pretrained("me/tiny", endpoint="http://127.0.0.1:9")
    assert weights_checksum(loaded.model) == weights_checksum(model)
    assert "me/tiny: the hub can't be reached" in caplog.text


@pytest.mark.parametrize("name", ["tiny", "me/ti ny", "me/tiny--x", "me/tiny..", "me/" + "x" * 100])
def test_a_name_that_no_hub_takes_is_refused_before_anything_is_written(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("huggingface_hub")
    with pytest.raises(HubError, match="repository"):
        check_repository(name)
    target = tmp_path / "out"
    line = ["export", "safetensors", str(tmp_path / "none.ckpt"), str(target), "--push", name]
    assert main(line) == 2
    assert repr(name) in capsys.readouterr().err
    assert not target.exists()


@pytest.mark.parametrize("name", ["encoder.onnx", "encoder.pt2"])
def test_a_folder_of_exported_programs_is_called_one(tmp_path: Path, name: str):
    (tmp_path / name).touch()
    with pytest.raises(HubError, match=r"holds programs of `syncsam export.*onnx_pair\.py"):
        read_folder(tmp_path)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(HubError, match=r"nosuch is no folder \(looked in "):
        push_to_hub(tmp_path / "nosuch", "me/tiny")


def test_a_folder_that_can_not_be_loaded_is_not_pushed(hub: str, folder: Path):
    change(folder, weights_sha256="0" * 64)
    with pytest.raises(HubError, match="other weights"):
        push_to_hub(folder, "me/tiny", endpoint=hub)


def test_what_is_neither_folder_nor_repository_is_told():
    with pytest.raises(HubError, match="neither a folder nor a repository"):
        from_pretrained("nowhere")
    assert is_repository("someone/syncsam-34")
    assert not is_repository("logs/best.ckpt")
    assert not is_repository("a/b/c")


@pytest.mark.promise(
    "Input: what a file declares is checked before room is made for it, and nesting has an end"
)
@pytest.mark.parametrize("name", ["vit_width", "vit_depth"])
def test_a_config_that_asks_for_more_than_the_weights_is_refused(
    model: SyncSAM, tmp_path: Path, name: str
):
    write_folder(model, tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    config["model"]["init_args"][name] = 10**9
    (tmp_path / CONFIG).write_text(json.dumps(config))
    with pytest.raises(ModelSettingsError, match=r"config.json asks for a SyncSAM with"):
        read_folder(tmp_path)
