from __future__ import annotations

from pathlib import Path

import pytest

from syncsam_lightning.cli.catalog import (
    UnknownConfigError,
    config_folder,
    config_summary,
    datamodule_names,
    packaged_configs,
    resolve_config,
)


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["resnet34_samed", "resnet34_samed.yaml"])
def test_a_packaged_config_is_found_by_name_from_any_folder(name: str):
    assert Path(resolve_config(name)) == config_folder().resolve() / "resnet34_samed.yaml"


def test_a_file_of_the_working_folder_wins_over_a_packaged_one(empty_folder: Path):
    (empty_folder / "demo.yaml").write_text("model: {}\n")
    assert resolve_config("demo.yaml") == "demo.yaml"


@pytest.mark.parametrize("value", ["-", "{model: {lr: 1}}", "model:\n  lr: 1\n"])
def test_inline_settings_and_standard_input_pass_unchanged(value: str):
    assert resolve_config(value) == value


def test_an_unknown_config_lists_the_packaged_ones(empty_folder: Path):
    with pytest.raises(UnknownConfigError) as error:
        resolve_config("resnet43")
    assert str(error.value) == (
        f"config 'resnet43' is neither a file (looked in {empty_folder}) nor a packaged config; "
        f"packaged: {', '.join(packaged_configs())}"
    )


@pytest.mark.parametrize("value", ["../pyproject.toml", "__init__.py", "."])
def test_nothing_but_a_packaged_yaml_is_found_by_name(value: str):
    with pytest.raises(UnknownConfigError):
        resolve_config(value)


def test_every_packaged_config_says_in_its_first_line_what_it_is():
    assert all(len(config_summary(name)) > 10 for name in packaged_configs())


def test_the_datamodules_of_this_package_are_installed():
    assert {"IMed361M", "MNI152", "MaskFolder", "SAMed2D"} <= set(datamodule_names())
