from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from syncsam_datamodules.samed2d import SAMed2D

from syncsam_lightning.cli.main import main
from syncsam_lightning.commands.prepare import UnknownOptionError, prepare
from syncsam_lightning.errors import DatasetNotFoundError, UnknownPluginError


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SYNCSAM_DEBUG", raising=False)


def test_an_unknown_datamodule_lists_the_known_ones():
    with pytest.raises(UnknownPluginError, match=r"unknown datamodule 'Nope'; known: .*SAMed2D"):
        prepare("Nope", ".", "x.lance")


def test_a_release_that_is_not_there_is_named():
    with pytest.raises(DatasetNotFoundError, match="nowhere"):
        prepare("SAMed2D", "nowhere", "x.lance")


def test_what_is_missing_is_told_with_the_form_of_the_command(capsys: pytest.CaptureFixture[str]):
    assert main(["prepare", "SAMed2D"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: source, table missing: syncsam prepare PLUGIN SOURCE TABLE")
    assert "MNI152" in printed


def test_a_wrong_option_names_the_nearest(capsys: pytest.CaptureFixture[str]):
    assert main(["prepare", "SAMed2D", "a", "b", "--option", "3"]) == 2
    assert capsys.readouterr().err == (
        "error: option: the command has no option 'option'; did you mean options?\n"
    )


def test_a_wrong_argument_of_the_datamodule_names_the_nearest(capsys: pytest.CaptureFixture[str]):
    assert main(["prepare", "MNI152", "-", "b", "--options.image_sise", "64"]) == 2
    printed = capsys.readouterr().err
    assert "MNI152 has no argument 'image_sise'; did you mean image_size" in printed


def test_a_release_is_prepared_and_its_counts_are_told(capsys: pytest.CaptureFixture[str]):
    arguments = [
        "prepare",
        "MNI152",
        "-",
        "m.lance",
        "--workers",
        "1",
        "--options.image_size",
        "32",
    ]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("m.lance: ")
    assert "modality" in printed
    assert main(arguments) == 0
    assert capsys.readouterr().out == "m.lance is there already; remove it to prepare it again\n"


def test_a_number_of_workers_that_makes_no_sense_is_refused(capsys: pytest.CaptureFixture[str]):
    assert main(["prepare", "MNI152", "-", "m.lance", "--workers", "0"]) == 2
    assert "workers must be at least 1, got 0" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["false", "no"])
def test_a_mapping_among_the_arguments_is_given_entry_by_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
):
    prepared = []

    def remember(self: SAMed2D, options: object, chosen: object) -> SimpleNamespace:
        prepared.append(self)
        return SimpleNamespace(details=lambda published: "")

    monkeypatch.setattr(SAMed2D, "prepare", remember)
    options = ["--options.image_size", "64", f"--options.rules.autopet={value}"]
    options += ["--options.rules.acdc_cavity", value, "--options.split_by", "image"]
    assert main(["prepare", "SAMed2D", ".", "b.lance", *options]) == 0
    (datamodule,) = prepared
    settings = datamodule.table_settings()
    assert (settings["rules"]["autopet"], settings["rules"]["acdc_cavity"]) == (False, False)
    assert (settings["image_size"], settings["split_by"]) == (64, "image")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["image_size=abc"], "options.image_size: expected an int, got abc"),
        (["image_size=-4"], "MNI152 refuses its options: image_size must be"),
        (
            ["split_by=patient"],
            "options.split_by: expected a Literal['case', 'image'], got patient",
        ),
        (["split_seed=1.5"], "options.split_seed: expected an int, got 1.5"),
        (["split_seed=-1"], "split_seed must be a whole number of 0 or more, got -1"),
        (["batch_size=3"], "batch_size says how a table is read"),
        (["seed=3"], "seed says how a table is read"),
        (["image_size=64", "hemispheres=maybe"], "options.hemispheres: expected a bool, got maybe"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told(
    capsys: pytest.CaptureFixture[str], options: list[str], said: str
):
    given = [f"--options.{option}" for option in options]
    assert main(["prepare", "MNI152", "-", "b", *given]) == 2
    assert said in capsys.readouterr().err


def test_rules_are_on_or_off(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(UnknownOptionError, match="SAMed2D refuses its options: no rule 'acdc'"):
        prepare("SAMed2D", "nowhere", "b.lance", options={"rules": {"acdc": True}})
    with pytest.raises(UnknownOptionError, match="rule autopet must be true or false, got 'no'"):
        prepare("SAMed2D", "nowhere", "b.lance", options={"rules": {"autopet": "no"}})
    assert main(["prepare", "SAMed2D", ".", "b", "--options.rules", "autopet"]) == 2
    assert "options.rules: expected a dict, got autopet" in capsys.readouterr().err


def folder_of_one(folder: Path) -> Path:
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
        Image.fromarray(np.eye(8, dtype=np.uint8) * 255).save(folder / part / "a.png")
    return folder


def test_a_table_of_another_source_is_not_taken_for_this_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    first, second = (folder_of_one(tmp_path / name) for name in ("first", "second"))
    table = str(tmp_path / "t.lance")
    assert main(["prepare", "MaskFolder", str(first), table]) == 0
    assert main(["prepare", "MaskFolder", str(first), table]) == 0
    assert f"{table} is there already; remove it to prepare it again" in capsys.readouterr().out
    assert main(["prepare", "MaskFolder", str(second), table]) == 2
    assert f"was prepared from {first}, not from {second}" in capsys.readouterr().err
