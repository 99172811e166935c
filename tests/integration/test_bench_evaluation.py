"""The benchmark of evaluation runs, on a small network, and says what it measured."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_encoding_once_is_measured_beside_encoding_per_mask(tmp_path):
    results = tmp_path / "results.json"
    options = ["--small", "--images", "2", "--masks", "3", "--json", str(results)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.evaluation", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    # A small network encodes too fast for the goal to mean anything.
    assert done.returncode in (0, 1), done.stderr[-3000:]
    once, share, *_ = json.loads(results.read_text())["lines"]
    assert share["value"] == once["value"] / once["plain"][0]
    assert 0 < share["value"] < 1
    assert "2 images x 3 masks x 3 protocols" in done.stdout
