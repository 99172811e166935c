"""Each part of the benchmark of training runs, on a toy model, and says what it measured."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch

ROOT = Path(__file__).parents[2]
PARTS = {
    "encoder": ["encoder: relative difference of outputs", "encoder, float32, batch 4"],
    "step": ["step: relative difference of logits", "episode, eight more rounds"],
    "click": ["first click", "100 boxes on one image"],
    "growth": ["images 1: time", "rounds 2: memory"],
    "footprint": ["recompute nothing: per image", "  50 images x 5 masks, 9 rounds, calculated"],
}


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    threads = torch.get_num_threads()
    yield importlib.import_module("benchmarks.training.__main__")
    torch.set_num_threads(threads)
    for name in [name for name in sys.modules if name.split(".")[0] == "benchmarks"]:
        del sys.modules[name]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_measures_what_it_names(benchmark, part, tmp_path, capsys):
    file = tmp_path / "results.json"
    options = ["--tiny", "--repeats", "1", "--threads", "1", "--json", str(file)]
    code = benchmark.main(["--only", part, *options])
    lines = {line["name"]: line for line in json.loads(file.read_text())["lines"]}
    printed = capsys.readouterr().out
    for name in PARTS[part]:
        assert name in lines
        assert name in printed
    # Times of a toy say nothing, but two arrangements of one model must agree.
    for name, line in lines.items():
        # A footprint is a difference, and a toy is smaller than what kernels need to work in.
        assert part == "footprint" or all(value >= 0 for value in line["values"]), name
        assert "difference" not in name or line["verdict"] == "met", name
    assert code == any(line["verdict"] == "MISSED" for line in lines.values())


def test_the_growth_is_drawn_from_the_results(benchmark, tmp_path):
    report = importlib.import_module("benchmarks.training.report")
    plot = importlib.import_module("benchmarks.training.plot")
    lines = [
        report.Line(f"{quantity} {n}", [n], unit, amount=report.Amount(quantity, n))
        for quantity in ("images", "side")
        for n in (1, 2)
        for unit in ("s", "GiB")
    ]
    report.write_json([*lines, report.Line("a law", [1.0], "%")], tmp_path / "b.json", "cpu")
    plot.draw_growth(json.loads((tmp_path / "b.json").read_text())["lines"], tmp_path / "g.png")
    height, width, _ = plt.imread(tmp_path / "g.png").shape
    assert width > height > 100


def test_the_law_of_points_on_a_polynomial_is_found(benchmark):
    polynomial = importlib.import_module("benchmarks.training.law").polynomial
    line = polynomial("images", [1, 2, 4], [2.5, 3.0, 4.0], degree=1)
    assert line.text == "2 + 0.5 · images"
    assert line.deviation == pytest.approx(0, abs=1e-9)
    square = polynomial("n", [1, 2, 3, 4], [1 - n + 2 * n**2 for n in (1, 2, 3, 4)], degree=2)
    assert square.text == "1 - 1 · n + 2 · n^2"
    assert polynomial("images", [1, 2, 4], [1.0, 2.0, 8.0], degree=1).deviation > 0.2


def test_the_memory_of_a_known_tensor_is_measured(benchmark):
    memory = importlib.import_module("benchmarks.training.memory")
    mebibyte = 2**20

    def work() -> None:
        for _ in range(3):  # one at a time
            torch.ones(4 * mebibyte, dtype=torch.uint8)

    assert 4 * mebibyte <= memory.peak_bytes(work, "cpu") < 5 * mebibyte
