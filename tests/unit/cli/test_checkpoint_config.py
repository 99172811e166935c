from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from syncsam_lightning.cli.checkpoint_config import (
    CheckpointConfigError,
    checkpoint_config,
    with_checkpoint_config,
)
from syncsam_lightning.errors import ModelSettingsError

MODEL = {"lr": 0.01, "network": {"class_path": "a.Net", "init_args": {"image_size": 64}}}
DATA = {"_class_path": "b.Data", "root": None, "image_size": 64}


def save(path: Path, **content: Any) -> str:
    torch.save(content, path)
    return str(path)


LIGHTNINGS = {"state_dict": {"w": torch.zeros(3)}, "pytorch-lightning_version": "2.6.6"}


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    return save(
        tmp_path / "x.ckpt",
        **LIGHTNINGS,
        hyper_parameters={**MODEL, "_instantiator": "lightning.pytorch.cli.instantiate_module"},
        datamodule_hyper_parameters={**DATA, "_instantiator": "anything"},
    )


def test_a_checkpoint_is_read_as_a_config(checkpoint: str):
    assert checkpoint_config(checkpoint) == {
        "model": MODEL,
        "data": {"class_path": "b.Data", "init_args": {"root": None, "image_size": 64}},
    }


@pytest.mark.promise(
    "Input: what a file declares is checked before room is made for it, and nesting has an end"
)
@pytest.mark.parametrize("key", ["vit_width", "vit_depth", "window_size"])
def test_a_checkpoint_that_asks_for_more_than_its_weights_is_refused(tmp_path: Path, key: str):
    network = {"class_path": "syncsam_lightning.models.SyncSAM", "init_args": {key: 3 * 2**28}}
    path = save(
        tmp_path / "x.ckpt",
        **LIGHTNINGS,
        frozen_checksum="",
        hyper_parameters={"network": network},
    )
    with pytest.raises(ModelSettingsError, match=r"x\.ckpt asks for a SyncSAM with"):
        checkpoint_config(path)


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_the_checkpoint_comes_first_so_that_the_user_wins(checkpoint: str, command: str):
    args = [command, "--ckpt_path", checkpoint, "--model.lr", "0.5"]
    result = with_checkpoint_config(args, ["image_size"])
    assert result[:2] == [command, "--config"]
    assert result[3:] == args[1:]
    assert json.loads(result[2]) == {
        "model": MODEL,
        "data": {"class_path": "b.Data", "init_args": {"root": None}},
    }


def test_fit_takes_nothing_from_the_checkpoint_it_resumes(checkpoint: str):
    args = ["fit", f"--ckpt_path={checkpoint}", "--config", "demo.yaml"]
    assert with_checkpoint_config(args, []) == args


def test_without_a_checkpoint_nothing_changes():
    assert with_checkpoint_config(["test", "--config", "demo.yaml"], []) == [
        "test",
        "--config",
        "demo.yaml",
    ]


@pytest.mark.parametrize("word", ["best", "last"])
def test_the_words_that_lightning_resolves_are_left_to_it(word: str):
    args = ["test", "--ckpt_path", word]
    assert with_checkpoint_config(args, []) == args


def test_a_datamodule_on_the_command_line_replaces_the_checkpoints(checkpoint: str):
    args = ["test", "--ckpt_path", checkpoint, "--data", "Other"]
    assert "data" not in json.loads(with_checkpoint_config(args, [])[2])


@pytest.mark.parametrize(("named", "is_kept"), [("Other", False), ("Data", True), ("b.Data", True)])
def test_another_datamodule_in_a_config_inherits_nothing(
    checkpoint: str, named: str, is_kept: bool
):
    config = json.dumps({"data": {"class_path": named, "init_args": {}}})
    args = ["test", "--ckpt_path", checkpoint, "--config", config]
    assert ("data" in json.loads(with_checkpoint_config(args, [])[2])) is is_kept


def test_a_config_without_data_keeps_the_checkpoints(checkpoint: str):
    args = ["test", "--ckpt_path", checkpoint, "--config", '{"model": {"protocols": ["box"]}}']
    assert "data" in json.loads(with_checkpoint_config(args, [])[2])


def test_one_argument_of_the_datamodule_does_not_replace_it(checkpoint: str):
    args = ["test", "--ckpt_path", checkpoint, "--data.root", "x"]
    assert json.loads(with_checkpoint_config(args, [])[2])["data"]["class_path"] == "b.Data"


def test_a_network_on_the_command_line_replaces_the_checkpoints_but_not_the_rest(checkpoint: str):
    args = ["test", "--ckpt_path", checkpoint, "--model.network", "Other"]
    model = json.loads(with_checkpoint_config(args, [])[2])["model"]
    assert model == {"lr": 0.01, "network": {"class_path": "Other"}}


def test_a_checkpoint_that_does_not_exist_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointConfigError) as error:
        with_checkpoint_config(["fit", "--ckpt_path", "no.ckpt"], [])
    assert str(error.value) == f"checkpoint no.ckpt does not exist (looked in {tmp_path})"


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04half a zip file"])
def test_a_file_that_is_no_checkpoint_is_named(tmp_path: Path, content: bytes):
    path = tmp_path / "x.ckpt"
    path.write_bytes(content)
    with pytest.raises(CheckpointConfigError, match=r"x\.ckpt cannot be read as a checkpoint"):
        checkpoint_config(path)


def test_a_truncated_checkpoint_is_named(checkpoint: str):
    content = Path(checkpoint).read_bytes()
    Path(checkpoint).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointConfigError, match="cannot be read"):
        checkpoint_config(checkpoint)


def test_a_file_with_something_else_in_it_is_named(tmp_path: Path):
    path = tmp_path / "x.ckpt"
    torch.save([1, 2], path)
    with pytest.raises(CheckpointConfigError, match="holds a list, not a checkpoint"):
        checkpoint_config(path)


def test_weights_alone_are_no_checkpoint(tmp_path: Path):
    path = save(tmp_path / "w.ckpt", state_dict={})
    with pytest.raises(CheckpointConfigError) as error:
        with_checkpoint_config(["test", "--ckpt_path", path, "--config", "demo.yaml"], [])
    assert str(error.value) == (
        f"{path} is no checkpoint of `syncsam fit`: it has no pytorch-lightning_version; "
        "weights alone are loaded with syncsam_lightning.models.load_weights"
    )


def test_a_checkpoint_without_settings_asks_for_a_config(tmp_path: Path):
    path = save(tmp_path / "w.ckpt", **LIGHTNINGS)
    with pytest.raises(CheckpointConfigError) as error:
        with_checkpoint_config(["test", "--ckpt_path", path], [])
    assert str(error.value) == (
        f"{path} does not say how to rebuild model and data (it was not written by "
        "`syncsam fit`): add --config FILE or --data CLASS"
    )


def test_a_checkpoint_without_settings_and_a_config_are_enough(tmp_path: Path):
    path = save(tmp_path / "w.ckpt", **LIGHTNINGS)
    args = ["test", "--ckpt_path", path, "--config", "demo.yaml"]
    assert with_checkpoint_config(args, []) == ["test", "--config", "{}", *args[1:]]


@pytest.mark.parametrize("command", ["fit", "test"])
def test_a_broken_checkpoint_is_named_by_every_command(tmp_path: Path, command: str):
    path = tmp_path / "x.ckpt"
    path.write_bytes(b"hello")
    with pytest.raises(CheckpointConfigError, match=r"x\.ckpt cannot be read as a checkpoint"):
        with_checkpoint_config([command, f"--ckpt_path={path}"], [])
