"""`python -m benchmarks.propagation CKPT FOLDER`: which rule ends a propagation best.

Every object is carried through its whole volume once; rules are then applied to what was drawn.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.propagation.walks import NEVER, Outcome, Walk, walks
from syncsam_lightning.prediction import Predictor, StopRule, VolumePredictor
from syncsam_lightning.volumes import parse_window

AREA_CHANGES = (2.0, 3.0, 4.0, 6.0, 1e9)
SCORES = (0.0, 0.5, 0.7, 0.8)
OVERLAPS = (0.0, 0.25, 0.5, 0.75, 0.9)


def rules() -> list[StopRule]:
    """Return every combination of values."""
    pixels = (StopRule().min_pixels,)
    return [
        StopRule(*values) for values in itertools.product(pixels, AREA_CHANGES, SCORES, OVERLAPS)
    ]


def named(rule: StopRule) -> str:
    """Return a rule's values as the table shows them."""
    return f"{rule.max_area_change:g} {rule.min_score:g} {rule.min_overlap:g}"


def summary(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Return means over walks."""
    return {
        "dice": float(np.mean([one.dice for one in outcomes])),
        "beyond": float(np.mean([one.beyond for one in outcomes])),
        "missed": float(np.mean([one.missed for one in outcomes])),
    }


def measured(found: Sequence[Walk]) -> list[dict[str, Any]]:
    """Return what each rule comes to, the best first; after the two bounds of no and a true end."""
    bounds = {
        "no rule": [walk.outcome(*walk.kept(NEVER)) for walk in found],
        "true ends": [walk.outcome(*walk.true_ends()) for walk in found],
    }
    lines = [{"rule": name, **summary(outcomes)} for name, outcomes in bounds.items()]
    ruled = [
        {
            "rule": named(rule),
            **summary([walk.outcome(*walk.kept(rule)) for walk in found]),
        }
        for rule in rules()
    ]
    return [*lines, *sorted(ruled, key=lambda line: -float(line["dice"]))]


def main(arguments: list[str]) -> int:
    """Print the rules with their DSC and the slices that were too many and too few."""
    parser = argparse.ArgumentParser(prog="benchmarks.propagation", description=__doc__)
    parser.add_argument("ckpt", help="a checkpoint of `syncsam fit`")
    parser.add_argument("folder", type=Path, help="volumes and label maps, as MaskFolder has them")
    parser.add_argument("--window", default="percentiles")
    parser.add_argument("--shown", type=int, default=15)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    predictor = VolumePredictor(
        Predictor.from_checkpoint(options.ckpt, device="cpu"),
        window=parse_window(options.window),
        plane="axial",
        stop=NEVER,
    )
    found = list(walks(predictor, options.folder))
    lines = measured(found)
    print(f"{len(found)} walks; rule: max_area_change min_score min_overlap; last: the default")
    default = [line for line in lines if line["rule"] == named(StopRule())]
    for line in [*lines[: options.shown], *default]:
        print("{rule:>12}  DSC {dice:.4f}  beyond {beyond:.2f}  missed {missed:.2f}".format(**line))
    if options.json:
        options.json.write_text(json.dumps({"walks": len(found), "rules": lines}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
