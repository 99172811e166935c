"""Two tiny models measured by `syncsam test` and put side by side by `syncsam compare`."""

from __future__ import annotations

import contextlib
import csv
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

from syncsam_lightning.cli.main import main

TINY = Path(__file__).parent / "tiny.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model without training, measured alike in two runs, and another that takes boxes only."""
    folder = tmp_path_factory.mktemp("compare")
    common = ["--config", str(TINY), "--data.table=mni152.lance", "--trainer.logger=false"]
    runs = {"a": "1", "again": "1", "b": "2"}
    with contextlib.chdir(folder):
        for name, seed in runs.items():
            options = [f"--seed_everything={seed}", f"--trainer.default_root_dir={name}"]
            protocols = ["--model.protocols=[box]"] if name == "b" else []
            assert main(["test", *common, *options, *protocols]) == 0
        results = ["first=a", "first=again", "second=b/test"]
        assert main(["compare", *results, "--resamples=50"]) == 0
    return folder


def mean_dice(folder: Path, protocol: str) -> float:
    rows = pq.read_table(folder / "test/scores.parquet").to_pylist()
    values = [row["dice"] for row in rows if row["protocol"] == protocol]
    return sum(values) / len(values)


def test_means_are_those_of_the_scores(folder: Path):
    with (folder / "compare/tables/overall.csv").open() as file:
        first, second = csv.DictReader(file)
    assert float(first["box"]) == pytest.approx(100 * mean_dice(folder / "a", "box"), abs=1e-3)
    assert float(second["box"]) == pytest.approx(100 * mean_dice(folder / "b", "box"), abs=1e-3)
    assert float(first["5pts"]) == pytest.approx(100 * mean_dice(folder / "a", "5pts"), abs=1e-3)
    assert second["5pts"] == ""
    assert first["box sd"] == "0.0"  # equal runs


def test_prompts_were_the_same_and_nothing_was_left_out(folder: Path):
    text = (folder / "compare/comparison.md").read_text(encoding="utf-8")
    assert "prompts differ" not in text
    assert "left out" not in text
    with (folder / "compare/unpaired.csv").open() as file:
        assert list(csv.DictReader(file)) == []


def test_the_gallery_is_drawn_from_the_results_alone(folder: Path):
    with Image.open(folder / "compare/gallery.png") as picture:
        assert picture.width > picture.height > 100
        assert len(picture.convert("RGB").resize((64, 32)).getcolors(64 * 32) or []) > 50
