"""Every shipped config parses against the real signatures, from an empty folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from syncsam_lightning.cli.catalog import config_folder, listed_configs, packaged_configs
from syncsam_lightning.cli.main import main

PAPER = [name for name in packaged_configs() if name.startswith("resnet")]
BASELINES = {
    f"{system}_{data}.yaml": network
    for system, network in (("ftsam", "FTSAM"), ("medsam", "MedSAM"), ("sammed2d", "SAMMed2D"))
    for data in ("samed", "imed")
}
NETWORKS = {**BASELINES, "sam.yaml": "SAM"}
# The network comes from the checkpoint.
FROM_A_CHECKPOINT = {"zero_shot.yaml": ["--model.network=syncsam_lightning.models.SyncSAM"]}
ON_A_CPU = ["--trainer.devices=1", "--trainer.accelerator=cpu", "--trainer.strategy=auto"]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def parsed(capsys: pytest.CaptureFixture[str], name: str, *options: str) -> dict[str, Any]:
    capsys.readouterr()
    if name == "sam.yaml":  # is for any data
        options = ("--data=MNI152", *options)
    with pytest.raises(SystemExit) as leave:
        main(
            ["fit", "--config", name, *FROM_A_CHECKPOINT.get(name, []), *options, "--print_config"]
        )
    assert leave.value.code in (0, None)
    settings = yaml.safe_load(capsys.readouterr().out)
    assert isinstance(settings, dict)
    return settings


@pytest.mark.parametrize("page", ["README.md", "docs/configs.md"])
def test_every_config_is_documented(page: str):
    text = (Path(__file__).parents[2] / page).read_text()
    assert [name for name in listed_configs() if f"`{name}`" not in text] == []


@pytest.mark.parametrize("name", packaged_configs())
def test_a_shipped_config_parses(name: str, capsys: pytest.CaptureFixture[str]):
    settings = parsed(capsys, name)
    network = settings["model"]["network"]["class_path"].rpartition(".")[2]
    assert network == NETWORKS.get(name, "SyncSAM")


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


@pytest.mark.parametrize("system", ["ftsam", "medsam", "sammed2d"])
def test_a_baseline_is_trained_alike_on_both_data_sets(
    system: str, capsys: pytest.CaptureFixture[str]
):
    samed, imed = (parsed(capsys, f"{system}_{data}") for data in ("samed", "imed"))
    assert samed["data"]["class_path"].endswith(".SAMed2D")
    assert imed["data"]["class_path"].endswith(".IMed361M")
    assert samed["model"] == imed["model"]
    for settings in (samed, imed):
        del settings["trainer"]["logger"]  # goes by the name of the config
    assert samed["trainer"] == imed["trainer"]
    assert (samed["trainer"]["devices"], samed["trainer"]["max_epochs"]) == (8, 12)
    assert samed["model"]["sam_checkpoint"] == "auto"


@pytest.mark.parametrize("data", ["samed", "imed"])
def test_medsam_is_trained_and_tested_with_boxes_only(
    data: str, capsys: pytest.CaptureFixture[str]
):
    model = parsed(capsys, f"medsam_{data}")["model"]
    assert model["episode"]["iterations"] == 0
    assert model["episode"]["box_probability"] == 1
    assert model["protocols"] == model["val_protocols"] == ["box"]


def test_sam_med2d_is_trained_as_published(capsys: pytest.CaptureFixture[str]):
    model = parsed(capsys, "sammed2d_samed")["model"]
    episode, loss = model["episode"], model["loss"]["init_args"]
    assert (episode["schedule"], episode["feedback"]) == ("per_round", "sigmoid")
    assert (episode["iterations"], episode["points_per_round"]) == (8, [1, 3, 5, 9])
    assert (loss["dice_weight"], loss["focal_weight"], loss["iou_weight"]) == (1, 20, 1)


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


def test_what_a_gpu_can_trade_is_reachable_from_a_config(capsys: pytest.CaptureFixture[str]):
    options = ["--trainer.benchmark=true", "--trainer.precision=bf16-mixed"]
    options += ["--model.matmul_precision=high", "--model.compile=inductor"]
    settings = parsed(capsys, "demo.yaml", *options)
    assert settings["trainer"]["benchmark"] is True
    assert settings["trainer"]["precision"] == "bf16-mixed"
    assert settings["model"]["matmul_precision"] == "high"
    assert settings["model"]["compile"] == "inductor"
