"""What a benchmark measured: one line each, as a table and as JSON."""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Line:
    """One measurement.

    Args:
        name: what was measured.
        values: of every repetition, in ``unit``. The best counts, as the least disturbed by
            whatever else the machine does; the median is shown beside it.
        unit: of all numbers of the line.
        limit: the goal; None where there is none.
        higher_is_better: on which side of the goal a value must lie.
        plain: the repetitions of the plain way of doing the same.
        plain_name: what that is.
    """

    name: str
    values: Sequence[float]
    unit: str
    limit: float | None = None
    higher_is_better: bool = False
    plain: Sequence[float] = ()
    plain_name: str = ""

    @property
    def value(self) -> float:
        """The best repetition."""
        return self._best(self.values)

    def _best(self, values: Sequence[float]) -> float:
        return max(values) if self.higher_is_better else min(values)

    @property
    def verdict(self) -> str:
        """Whether the goal is met, or ``""`` where there is none."""
        if self.limit is None:
            return ""
        met = self.value >= self.limit if self.higher_is_better else self.value <= self.limit
        return "met" if met else "MISSED"

    def cells(self) -> list[str]:
        """Return the line as the table shows it."""
        sign = ">=" if self.higher_is_better else "<"
        goal = "" if self.limit is None else f"{sign} {_number(self.limit)}"
        plain = f"{_number(self._best(self.plain))} ({self.plain_name})" if self.plain else ""
        median = _number(statistics.median(self.values)) if len(self.values) > 1 else ""
        return [self.name, _number(self.value), median, self.unit, goal, self.verdict, plain]


_HEAD = ["", "best", "median", "unit", "goal", "", "plain"]


def table(lines: Sequence[Line]) -> str:
    """Return the lines as a Markdown table."""
    rows = [_HEAD, *(line.cells() for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    texts = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    return "\n".join([texts[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *texts[1:]])


def write_json(lines: Sequence[Line], path: Path) -> None:
    """Write the lines, and on what they were measured."""
    content = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "lines": [asdict(line) | {"value": line.value, "verdict": line.verdict} for line in lines],
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
