"""The benchmark of tables runs and says what it measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT.parent / "shared" / "data" / "imed361m"


@pytest.mark.slow
def test_the_benchmark_measures_tables_beside_the_plain_way(tmp_path):
    if not SAMPLE.is_dir():
        pytest.skip(f"no sample of IMed-361M at {SAMPLE}")
    results = tmp_path / "results.json"
    options = ["--images", "3000", "--imed", str(SAMPLE), "--json", str(results)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.data", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr[-3000:]
    lines = {line["name"]: line for line in json.loads(results.read_text())["lines"]}
    for name in ("load, one process", "load, 2 workers", "open", "growth of a worker"):
        assert lines[name]["value"] > 0
        assert min(lines[name]["plain"]) > 0
        assert name in done.stdout
    assert (done.returncode == 1) == any(line["verdict"] == "MISSED" for line in lines.values())
