"""`python -m benchmarks.data`: how fast tables are read and how little memory that takes."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.data.indexing import measure_indexing
from benchmarks.data.loading import measure_loading
from benchmarks.data.report import Line, table, write_json

_SAMPLE = Path("../shared/data/imed361m")
_NUM_IMAGES = 3_600_000


def main(arguments: list[str]) -> int:
    """Measure, print one table, and return 1 if a goal was missed."""
    parser = argparse.ArgumentParser(prog="benchmarks.data", description=__doc__)
    parser.add_argument("--imed", type=Path, default=_SAMPLE, help="IMed-361M or a part of it")
    parser.add_argument("--images", type=int, default=_NUM_IMAGES, help="rows of the made-up table")
    parser.add_argument("--folder", type=Path, help="keep the tables here, and use them again")
    parser.add_argument("--json", type=Path, help="write the results here as well")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        kept = given.folder or Path(scratch)
        kept.mkdir(parents=True, exist_ok=True)
        lines: list[Line] = []
        if given.imed.is_dir():
            lines += measure_loading(given.imed, Path(scratch))
        else:
            print(f"no IMed-361M at {given.imed}: loading is not measured (give --imed FOLDER)")
        lines += measure_indexing(kept, given.images)
    print(table(lines))
    if given.json:
        write_json(lines, given.json)
    return int(any(line.verdict == "MISSED" for line in lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
