"""`python -m benchmarks.training.plot bench.json growth.png`: draw how a training step grows."""

from __future__ import annotations

import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def draw_growth(lines: list[dict], path: Path) -> None:
    """Draw time and memory against each quantity.

    Args:
        lines: of the file that ``--json`` writes; those without an amount are left out.
        path: the picture's.
    """
    curves: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for line in lines:
        if amount := line["amount"]:
            point = (amount["value"], statistics.median(line["values"]))
            curves[amount["quantity"], line["unit"]].append(point)
    quantities = list(dict.fromkeys(quantity for quantity, _ in curves))
    figure, axes = plt.subplots(2, len(quantities), figsize=(3 * len(quantities), 5), squeeze=False)
    for column, quantity in enumerate(quantities):
        for row, (unit, label) in enumerate((("s", "seconds"), ("GiB", "GiB"))):
            axis = axes[row, column]
            x, y = zip(*curves[quantity, unit], strict=True)
            axis.plot(x, y, "o-")
            axis.set(xlabel=quantity, xticks=x, ylim=(0, None))
            axis.grid(alpha=0.3)
            if column == 0:
                axis.set_ylabel(label)
    figure.suptitle("A training step of SyncSAM-34, float32")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    draw_growth(json.loads(source.read_text(encoding="utf-8"))["lines"], target)
