"""`python -m benchmarks.training`: how fast the model trains and answers, and what it takes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from benchmarks.training.click import measure_click
from benchmarks.training.encoder import measure_encoder
from benchmarks.training.footprint import measure_footprint
from benchmarks.training.growth import measure_growth
from benchmarks.training.report import Line, table, write_json
from benchmarks.training.setting import Measurement, Setting
from benchmarks.training.step import measure_step

PARTS: dict[str, Measurement] = {
    "encoder": measure_encoder,
    "step": measure_step,
    "click": measure_click,
    "growth": measure_growth,
    "footprint": measure_footprint,
}


def main(arguments: list[str]) -> int:
    """Measure, print a table for each part, and return 1 if a goal was missed."""
    parser = argparse.ArgumentParser(prog="benchmarks.training", description=__doc__)
    parser.add_argument("--only", choices=PARTS, action="append", help="measure these parts alone")
    parser.add_argument("--repeats", type=int, default=5, help="of each measurement")
    parser.add_argument("--tiny", action="store_true", help="a toy model, to see that it runs")
    parser.add_argument("--compile", action="store_true", help="the step compiled as well")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, help="of a CPU; default: all cores")
    parser.add_argument("--json", type=Path, help="write the results here as well")
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    setting = Setting(given.device, given.repeats, given.tiny, given.compile)
    lines: list[Line] = []
    for name in given.only or PARTS:
        found = PARTS[name](setting)
        lines += found
        # At once: a run takes long, and one that is ended early has measured something too.
        print(table(found), flush=True)
        if given.json:
            write_json(lines, given.json, given.device)
    return int(any(line.verdict == "MISSED" for line in lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
