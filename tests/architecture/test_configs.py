"""Every shipped config parses against the real signatures, from an empty folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from syncsam_lightning.cli.catalog import config_folder, packaged_configs
from syncsam_lightning.cli.main import main

PAPER = [name for name in packaged_configs() if name.startswith("resnet")]
# The network comes from the checkpoint.
FROM_A_CHECKPOINT = {"zero_shot.yaml": ["--model.network=syncsam_lightning.models.SyncSAM"]}
ON_A_CPU = ["--trainer.devices=1", "--trainer.accelerator=cpu", "--trainer.strategy=auto"]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def parsed(capsys: pytest.CaptureFixture[str], name: str, *options: str) -> dict[str, Any]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as leave:
        main(
            ["fit", "--config", name, *FROM_A_CHECKPOINT.get(name, []), *options, "--print_config"]
        )
    assert leave.value.code in (0, None)
    settings = yaml.safe_load(capsys.readouterr().out)
    assert isinstance(settings, dict)
    return settings


def test_the_configs_are_those_of_the_readme():
    assert packaged_configs() == [
        "demo.yaml",
        "resnet34_imed.yaml",
        "resnet34_samed.yaml",
        "resnet50_imed.yaml",
        "resnet50_samed.yaml",
        "zero_shot.yaml",
    ]


@pytest.mark.parametrize("name", packaged_configs())
def test_a_shipped_config_parses(name: str, capsys: pytest.CaptureFixture[str]):
    settings = parsed(capsys, name)
    assert settings["model"]["network"]["class_path"] == "syncsam_lightning.models.SyncSAM"


@pytest.mark.parametrize("name", packaged_configs())
def test_printed_settings_are_a_config_that_gives_the_same_settings(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    first = parsed(capsys, name)
    (tmp_path / "printed.yaml").write_text(yaml.safe_dump(first))
    assert parsed(capsys, "printed.yaml") == first


@pytest.mark.parametrize("name", packaged_configs())
def test_a_shipped_config_holds_no_path_of_any_machine(name: str):
    text = (config_folder() / name).read_text()
    assert re.findall(r"(?<![\w.])(?:/|~/|[A-Z]:\\)\w\S*", text) == []


@pytest.mark.parametrize("name", PAPER)
def test_a_paper_config_has_the_published_settings(name: str, capsys: pytest.CaptureFixture[str]):
    settings = parsed(capsys, name)
    trainer, model, data = settings["trainer"], settings["model"], settings["data"]["init_args"]
    assert (trainer["devices"], trainer["max_epochs"], trainer["sync_batchnorm"]) == (8, 12, True)
    assert (data["batch_size"], data["masks_per_image"]) == (50, 5)
    assert (model["lr"], model["lr_milestones"], model["lr_gamma"]) == (1e-4, [5, 10], 0.5)
    assert model["episode"]["iterations"] == 8
    assert model["network"]["init_args"]["cnn"] == name.split("_")[0]
    assert settings["data"]["class_path"].endswith("SAMed2D" if "samed" in name else "IMed361M")


@pytest.mark.parametrize("name", PAPER)
def test_only_device_batch_and_path_need_overriding_to_run_elsewhere(
    name: str, capsys: pytest.CaptureFixture[str]
):
    options = [*ON_A_CPU, "--data.batch_size=2", "--data.root=somewhere"]
    settings = parsed(capsys, name, *options)
    assert settings["trainer"]["accelerator"] == "cpu"
    assert settings["trainer"]["strategy"] == "auto"
    assert settings["data"]["init_args"]["batch_size"] == 2
    assert settings["data"]["init_args"]["root"] == "somewhere"


def test_zero_shot_has_the_columns_of_table_4_by_the_papers_rules(
    capsys: pytest.CaptureFixture[str],
):
    settings = parsed(capsys, "zero_shot.yaml")
    parts = settings["data"]["init_args"]["parts"]
    names = [part["class_path"].rpartition(".")[2] for part in parts]
    assert names == ["HNTSMRG", "CURVAS", "STS", "COSAS24", "KPIs", "EBHI"]
    assert [part["init_args"]["root"] for part in parts] == names
    assert {part["init_args"]["preprocessing"] for part in parts} == {"paper"}
    assert settings["model"]["protocols"] == ["box"]


def test_the_demo_needs_no_weights_and_no_gpu(capsys: pytest.CaptureFixture[str]):
    settings = parsed(capsys, "demo")
    assert settings["trainer"]["accelerator"] == "cpu"
    assert settings["model"]["sam_checkpoint"] == "none"
    assert settings["model"]["cnn_weights"] == "none"
    assert settings["data"]["class_path"].endswith("MNI152")
