from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from syncsam_datamodules.samed2d import SAMed2D

from syncsam_lightning.cli.main import main
from syncsam_lightning.commands.prepare import UnknownOptionError, prepare
from syncsam_lightning.data.table import Table
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


def said(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    assert main(["prepare", *args]) == 2
    return capsys.readouterr().err


def test_a_filter_with_a_wrong_name_or_value_is_told(capsys: pytest.CaptureFixture[str]):
    args = ("MNI152", "-", "m.lance", "--options.image_size", "32")
    told = said(capsys, *args, "--data.filter.modalty", "mr")
    assert "data.filter has no 'modalty'; did you mean modality" in told
    told = said(capsys, *args, "--data.filter.modality", "ct")
    assert "data.filter (modality: ct) leaves no image" in told
    told = said(capsys, *args, "--options.filter.modality", "ct")
    assert "give it as --data.filter.modality" in told
    assert not [*Path().iterdir()]


def test_a_filter_shapes_the_table_of_any_data_set(capsys: pytest.CaptureFixture[str]):
    args = ["MNI152", "-", "m.lance", "--options.image_size", "32", "--workers", "1"]
    assert main(["prepare", *args, "--data.filter.label", "[brain]"]) == 0
    told = capsys.readouterr().out
    assert main(["prepare", *args[:2], "whole.lance", *args[3:]]) == 0
    whole, part = Table("whole.lance"), Table("m.lance")
    rows = part.read(range(len(part)))
    assert {label for row in rows for label in row.labels} == {"brain"}
    sides = {row.id: row.split for row in whole.read(range(len(whole)))}
    assert all(sides[row.id] == row.split for row in rows)
    assert f"{len(rows)} images" in told


@pytest.mark.parametrize(
    ("text", "size"), [("1GB", 10**9), ("1.5 MB", 1_500_000), ("20", 20), ("3T", 3 * 10**12)]
)
def test_sizes_are_read_as_people_write_them(text: str, size: int, monkeypatch):
    found = []
    monkeypatch.setattr(
        SAMed2D, "prepare", lambda self, options, chosen: found.append(options) or Nothing()
    )
    prepare("SAMed2D", ".", "t.lance", max_download=text)
    assert found[0].max_download == size


class Nothing:
    def details(self, published: object) -> str:
        return ""


def test_a_size_that_is_none_is_told(capsys: pytest.CaptureFixture[str]):
    told = said(capsys, "SAMed2D", ".", "t.lance", "--max_download", "much")
    assert "max_download is 'much', expected a size such as 500MB" in told


@pytest.mark.parametrize(("answer", "is_yes"), [("y\n", True), ("n\n", False), ("", False)])
def test_a_person_at_a_terminal_is_asked(
    answer: str, is_yes: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    found = []
    monkeypatch.setattr(
        SAMed2D, "prepare", lambda self, options, chosen: found.append(options) or Nothing()
    )
    prepare("SAMed2D", ".", "t.lance")
    assert not found[0].ask("3 GB would be read. Read them?"), "nobody is there"
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    monkeypatch.setattr("sys.stderr", told := Terminal())
    assert found[0].ask("3 GB would be read. Read them?") == is_yes
    assert told.getvalue() == "3 GB would be read. Read them? [y/N] "
