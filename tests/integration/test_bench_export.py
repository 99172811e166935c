"""The benchmark of exports runs, on a small network, and says what it measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_clicks_are_measured_beside_pytorch(tmp_path):
    pytest.importorskip("onnxruntime")
    results = tmp_path / "results.json"
    command = [sys.executable, "-m", "benchmarks.export", "--small", "--repeats", "2"]
    done = subprocess.run(
        [*command, "--json", str(results)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    difference, *timed = json.loads(results.read_text())["lines"]
    assert difference["value"] < 1e-3
    assert [line["name"].partition(": ")[2] for line in timed] == [
        "encoding",
        "first click",
        "third click",
    ]
    assert all(line["value"] > 0 and line["plain"][0] > 0 for line in timed)
