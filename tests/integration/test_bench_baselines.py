"""The benchmark of the baselines runs, on toy models, and both ways of encoding agree."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    threads = torch.get_num_threads()
    yield importlib.import_module("benchmarks.baselines")
    torch.set_num_threads(threads)
    for name in [name for name in sys.modules if name.split(".")[0] == "benchmarks"]:
        del sys.modules[name]


def test_each_model_is_measured_with_and_without_padding(benchmark, capsys):
    models = ["SAM", "SAMMed2D", "IMISNet"]
    only = [part for name in models for part in ("--only", name)]
    assert benchmark.main(["--tiny", "--repeats", "1", "--threads", "1", *only]) == 0
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0].strip() for row in rows] == [f"{name}, 64" for name in models]
    assert all(float(row[-1]) < 1e-5 for row in rows), rows


def test_the_padded_way_is_that_of_segment_anything(benchmark):
    model = benchmark.MODELS["SAM"](image_size=64, vit_width=32, vit_depth=4, vit_heads=2)
    plain = benchmark.with_padding(model)
    padded = [m for m in plain.modules() if isinstance(m, benchmark.PaddedAttention)]
    assert len(padded) == 4
    assert not [m for m in model.modules() if isinstance(m, benchmark.PaddedAttention)]
