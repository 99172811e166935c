"""`syncsam compare` from the command line, without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from syncsam_lightning.cli.main import main

RUN = """
import sys
from syncsam_lightning.cli.main import main
status = main(sys.argv[1:])
assert status == 0, status
heavy = {"torch", "lightning", "lance", "torchvision"} & set(sys.modules)
assert not heavy, heavy
"""


def write(folder: Path, gain: float) -> Path:
    rows = [
        {
            "index": n,
            "image_id": f"i{n}",
            "mask_id": 0,
            "label": "liver",
            "source": "A",
            "modality": "ct",
            "case": f"c{n}",
            "protocol": "box",
            "version": 1,
            "area": 10,
            "dice": 0.3 + n / 100 + gain,
            "iou": 0.5,
            "fill_box_dice": 0.4,
        }
        for n in range(8)
    ]
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "scores.parquet")
    return folder


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SYNCSAM_DEBUG", raising=False)
    write(tmp_path / "logs/a/test", 0.0)
    write(tmp_path / "logs/b/test", 0.2)


def error(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    assert main(["compare", *args]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    return printed


def test_models_are_compared_without_torch(tmp_path: Path):
    args = ["compare", "SAM=logs/a/test", "logs/b", "--paper", "table2", "--resamples=50"]
    result = subprocess.run(
        [sys.executable, "-c", RUN, *args], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "| SAM             | <ins>33.5</ins>\\* |" in result.stdout
    assert "| b               | **53.5**" in result.stdout
    assert "33.5 / 66.6 (-33.1)" in result.stdout
    assert (tmp_path / "compare/comparison.md").exists()
    assert (tmp_path / "compare/modalities_box.png").read_bytes().startswith(b"\x89PNG")


def test_options_reach_the_comparison(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    options = ["--output", "out", "--unit=image", "--resamples=30", "--confidence=0.9"]
    assert main(["compare", "logs/a", "logs/b", *options]) == 0
    text = (tmp_path / "out/comparison.md").read_text(encoding="utf-8")
    assert "Intervals (90%) are percentiles of 30 bootstrap resamples of images" in text
    assert "tables and drawings: out" in capsys.readouterr().out


def test_no_folder_is_told_with_the_usage(capsys: pytest.CaptureFixture[str]):
    assert error(capsys).startswith("error: nothing to compare: syncsam compare NAME=FOLDER")


def test_a_misspelt_option_names_the_right_one(capsys: pytest.CaptureFixture[str]):
    assert "did you mean output?" in error(capsys, "logs/a", "--outptu=x")


def test_another_table_of_the_paper_names_those_there_are(capsys: pytest.CaptureFixture[str]):
    printed = error(capsys, "logs/a", "--paper=table7")
    assert "paper" in printed
    assert "table4" in printed


def test_an_image_that_was_not_kept_is_told(capsys: pytest.CaptureFixture[str]):
    assert main(["compare", "logs/a", "--images=[x]"]) == 0
    assert "gallery: no images with box were kept for a" in capsys.readouterr().out


def test_a_folder_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]):
    assert error(capsys, "a=nowhere").startswith("error: nowhere does not exist: give the folder")
