from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from syncsam_lightning.hub import CONFIG, read_folder, write_folder
from syncsam_lightning.models import ScribblePromptUNet
from syncsam_lightning.prediction.trained_window import trained_windows, volume_window
from syncsam_lightning.volumes import Window, parse_window


@pytest.fixture(autouse=True)
def info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def trained(folder: Path, data: dict[str, Any] | None) -> Path:
    content: dict[str, Any] = {"state_dict": {}}
    if data is not None:
        content["datamodule_hyper_parameters"] = data
    torch.save(content, folder / "x.ckpt")
    return folder / "x.ckpt"


def mixture(*windows: str) -> dict[str, Any]:
    parts = [
        {"class_path": "MaskFolder", "init_args": {"root": name, "window": name}}
        for name in windows
    ]
    return {"parts": [*parts, {"class_path": "SAMed2D", "init_args": {}}]}


def test_volumes_are_shown_as_in_training(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = trained(tmp_path, {"window": "soft_tissue"})
    assert volume_window(None, path) == parse_window("soft_tissue")
    assert caplog.messages == ["volumes are shown with the window of training, soft_tissue"]


@pytest.mark.parametrize("data", [None, {}, {"window": "percentiles"}, {"window": "fisheye"}])
def test_where_training_says_nothing_it_is_the_default(
    tmp_path: Path, data: dict[str, Any] | None, caplog: pytest.LogCaptureFixture
):
    path = trained(tmp_path, data)
    assert volume_window(None, path) == Window()
    assert volume_window("lung", path) == parse_window("lung")
    assert not caplog.messages


def test_another_window_than_that_of_training_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = trained(tmp_path, {"window": "400,40"})
    assert volume_window("soft_tissue", path) == parse_window("soft_tissue")  # the same one
    assert not caplog.messages
    assert volume_window("percentiles", path) == Window()
    assert "the window percentiles, but" in caplog.text
    assert "was trained with 400,40" in caplog.text


def test_the_parts_of_a_mixture_may_have_one_window(tmp_path: Path):
    path = trained(tmp_path, mixture("liver", "liver"))
    assert trained_windows(path) == ["liver"]
    assert volume_window(None, path) == parse_window("liver")


def test_a_folder_says_the_windows_of_training(tmp_path: Path):
    pytest.importorskip("safetensors")
    model = ScribblePromptUNet(width=4, depth=2)
    write_folder(model, tmp_path / "one", windows=["400,40"])
    assert volume_window(None, tmp_path / "one") == parse_window("soft_tissue")
    write_folder(model, tmp_path / "several", windows=["liver", "lung"])
    assert trained_windows(tmp_path / "several") == ["liver", "lung"]


def test_a_folder_of_before_it_said_its_windows_is_read_as_ever(tmp_path: Path):
    pytest.importorskip("safetensors")
    write_folder(ScribblePromptUNet(width=4, depth=2), tmp_path, windows=["lung"])
    config = json.loads((tmp_path / CONFIG).read_text())
    del config["windows"]
    (tmp_path / CONFIG).write_text(json.dumps(config))
    assert read_folder(tmp_path).config["windows"] == []
    assert volume_window(None, tmp_path) == Window()


def test_of_several_windows_none_is_guessed(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = trained(tmp_path, mixture("liver", "lung"))
    assert volume_window("lung", path) == parse_window("lung")
    assert not caplog.messages
    assert volume_window(None, path) == Window()
    assert "several windows (liver, lung), and percentiles is taken" in caplog.text
