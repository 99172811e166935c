"""What was measured: one line each, as a table and as JSON."""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Amount:
    """How much there was of something whose effect is measured: ``Amount("images", 4)``."""

    quantity: str
    value: float


@dataclass(frozen=True)
class Line:
    """One measurement, alone or beside another one that was taken in turns with it.

    Args:
        name: what was measured.
        values: of every repetition, in ``unit``.
        unit: of ``values``, ``plain`` and ``limit``; of ``limit`` only where ``plain`` is empty.
        limit: the goal: of the median, or, where there is ``plain``, of the ratio to it.
        at_least: whether the goal is a lower bound.
        plain: the repetitions of what it is compared with.
        plain_name: what that is.
        amount: of what was changed from line to line, if something was.
    """

    name: str
    values: Sequence[float]
    unit: str
    limit: float | None = None
    at_least: bool = False
    plain: Sequence[float] = ()
    plain_name: str = ""
    amount: Amount | None = None

    @property
    def ratio(self) -> float | None:
        """Median to median; None without a comparison."""
        return (
            statistics.median(self.values) / statistics.median(self.plain) if self.plain else None
        )

    @property
    def ratio_of_best(self) -> float | None:
        """Least to least, which a busy machine disturbs least; None without a comparison."""
        return min(self.values) / min(self.plain) if self.plain else None

    @property
    def verdict(self) -> str:
        """Whether the goal is met, or ``""`` where there is none."""
        if self.limit is None:
            return ""
        value = statistics.median(self.values) if self.ratio is None else self.ratio
        return (
            "met" if (value >= self.limit if self.at_least else value <= self.limit) else "MISSED"
        )

    def cells(self) -> list[str]:
        """Return the line as the table shows it."""
        sign = ">=" if self.at_least else "<="
        return [
            self.name,
            _spread(self.values),
            self.unit,
            f"{_spread(self.plain)} ({self.plain_name})" if self.plain else "",
            _number(self.ratio),
            _number(self.ratio_of_best),
            "" if self.limit is None else f"{sign} {_number(self.limit)}",
            self.verdict,
        ]


_HEAD = ["", "median (least-most)", "unit", "beside", "ratio", "of least", "goal", ""]


def table(lines: Sequence[Line]) -> str:
    """Return the lines as a Markdown table."""
    rows = [_HEAD, *(line.cells() for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    texts = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    return "\n".join([texts[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *texts[1:]])


def write_json(lines: Sequence[Line], path: Path, device: str) -> None:
    """Write the lines, and on what they were measured."""
    content = {
        "torch": torch.__version__,
        "device": device if device == "cpu" else torch.cuda.get_device_name(device),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "lines": [
            asdict(line)
            | {
                "ratio": line.ratio,
                "ratio_of_best": line.ratio_of_best,
                "verdict": line.verdict,
            }
            for line in lines
        ],
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _spread(values: Sequence[float]) -> str:
    middle = _number(statistics.median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({_number(min(values))}-{_number(max(values))})"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
