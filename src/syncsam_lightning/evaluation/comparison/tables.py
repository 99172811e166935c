"""The shape of the paper's tables: models by protocols, and models by groups of masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from syncsam_lightning.evaluation.comparison.measurements import GROUPINGS, OVERALL

SIGNIFICANT = 0.05
"""Level below which a corrected p value gets its mark."""

MAX_COLUMNS = 8
"""With more groups than this, groups become rows and models columns."""

NONE = "-"
"""What stands where a model wasn't measured."""


@dataclass(frozen=True, slots=True)
class Cell:
    """DSC of one model in one column.

    Args:
        dsc: in per cent.
        sd: over runs, in per cent; None for one run.
        mark: whether it is the best or the second best as printed. Equals share a mark, and behind
            two that are best there is no second.
        differs: whether it differs significantly from the best.
    """

    dsc: float
    sd: float | None
    mark: Literal["best", "second", ""]
    differs: bool


@dataclass(frozen=True, slots=True)
class Table:
    """Models as rows, protocols or groups as columns.

    Args:
        name: stem of its files.
        title: what it shows.
        kind: what its columns are.
        models: rows, in order.
        columns: in order.
        cells: by model and column; no entry where there is nothing.
        counts: lines about the columns: title -> text per column.
    """

    name: str
    title: str
    kind: str
    models: Sequence[str]
    columns: Sequence[str]
    cells: dict[tuple[str, str], Cell]
    counts: dict[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class Grid:
    """A table as text.

    Args:
        header: of each column.
        body: rows.
        footer: rows that are no scores, set off by a rule where that is possible.
    """

    header: list[str]
    body: list[list[str]]
    footer: list[list[str]]


def build_tables(measurements: pd.DataFrame, models: Sequence[str]) -> list[Table]:
    """Return all tables of a comparison.

    First that of all masks, with a column per protocol (the paper's Tables 2 and 3); then for each
    protocol those by data set (Table 4), modality and class.

    Args:
        measurements: see :func:`.measurements.measure`.
        models: in order.
    """
    protocols = list(dict.fromkeys(measurements["protocol"]))
    overall = measurements[measurements["grouping"] == OVERALL]
    tables = [_table("overall", "all masks", "protocol", models, overall, "protocol")]
    for grouping in GROUPINGS:
        of_grouping = measurements[measurements["grouping"] == grouping]
        for protocol in protocols:
            rows = of_grouping[of_grouping["protocol"] == protocol]
            name = f"{grouping.replace(' ', '_')}_{protocol}"
            tables.append(
                _table(name, f"by {grouping}, {protocol}", grouping, models, rows, "group")
            )
    return tables


def _table(
    name: str, title: str, kind: str, models: Sequence[str], rows: pd.DataFrame, by: str
) -> Table:
    cells: dict[tuple[str, str], Cell] = {}
    counts: dict[str, dict[str, str]] = {"masks": {}, "images": {}, "filling the box": {}}
    columns = list(dict.fromkeys(rows[by]))
    for column in columns:
        part = rows[rows[by] == column]
        marks = _marks(part["dsc"].to_numpy() * 100)
        for row, mark in zip(part.itertuples(), marks, strict=True):
            sd = None if np.isnan(row.sd) else row.sd * 100
            differs = bool(row.p_holm < SIGNIFICANT)
            cells[row.model, column] = Cell(row.dsc * 100, sd, mark, differs)
        first = part.iloc[0]
        counts["masks"][column] = f"{first['num_masks']:,}"
        counts["images"][column] = f"{first['num_images']:,}"
        counts["filling the box"][column] = f"{first['fill_box'] * 100:.1f}"
    return Table(name, title, kind, models, columns, cells, counts)


def _marks(values: np.ndarray) -> Iterator[Literal["best", "second", ""]]:
    """Yield the mark of each value, compared as printed; one model alone is not the best."""
    printed = np.array([float(f"{value:.1f}") for value in values])
    for value in printed:
        place = 1 + (printed > value).sum()
        if len(printed) < 2 or place > 2:
            yield ""
        else:
            yield "best" if place == 1 else "second"


def lay_out(table: Table, text: Callable[[str], str], cell: Callable[[Cell], str]) -> Grid:
    """Write a table as text; a table with many columns is turned, so that groups are its rows.

    Args:
        table: to write.
        text: how a name is written (escapes).
        cell: how a score is written (marks).
    """

    def scores(model: str, column: str) -> str:
        found = table.cells.get((model, column))
        return NONE if found is None else cell(found)

    models, columns = [text(m) for m in table.models], [text(c) for c in table.columns]
    if len(columns) <= MAX_COLUMNS:
        body = [
            [name, *(scores(model, column) for column in table.columns)]
            for name, model in zip(models, table.models, strict=True)
        ]
        footer = [
            [title, *(text(values[column]) for column in table.columns)]
            for title, values in table.counts.items()
        ]
        return Grid(["model", *columns], body, footer)
    body = [
        [
            name,
            *(scores(model, column) for model in table.models),
            *(text(values[column]) for values in table.counts.values()),
        ]
        for name, column in zip(columns, table.columns, strict=True)
    ]
    return Grid([table.kind, *models, *table.counts], body, [])
