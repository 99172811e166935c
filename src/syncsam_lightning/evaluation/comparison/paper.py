"""The paper's figures, and how far measured ones are from them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import pandas as pd
import yaml

from syncsam_lightning.errors import ComparisonError
from syncsam_lightning.evaluation.comparison.markdown import markdown_rows, markdown_text
from syncsam_lightning.evaluation.comparison.measurements import OVERALL

_FILE = "paper.yaml"


@dataclass(frozen=True, slots=True)
class PaperTable:
    """One table of the paper.

    Args:
        name: ``table2``, ``table3`` or ``table4``.
        title: what it shows.
        source: where the figures are from.
        grouping: of the measurements that it is about; see :mod:`.measurements`.
        protocol: of all columns; None where the columns are protocols.
        columns: protocols or data sets.
        models: DSC in per cent of each model by column; None where the paper has none.
        uncertain: cells that could not be read with certainty, by model and column -> why.
    """

    name: str
    title: str
    source: str
    grouping: str
    protocol: str | None
    columns: Sequence[str]
    models: Mapping[str, Mapping[str, float | None]]
    uncertain: Mapping[tuple[str, str], str]


def paper_table(name: str) -> PaperTable:
    """Return one of the paper's tables.

    Raises:
        ComparisonError: there is none of that name.
    """
    content = yaml.safe_load(files(__package__).joinpath(_FILE).read_text(encoding="utf-8"))
    tables: dict[str, Any] = content["tables"]
    if name not in tables:
        raise ComparisonError(f"paper: {name!r} is none of {', '.join(tables)}")
    table = tables[name]
    columns = table["columns"]
    uncertain = {
        (model, column): entry["why"]
        for entry in table.get("uncertain", [])
        for model in entry.get("models", table["models"])
        for column in entry.get("columns", columns)
    }
    return PaperTable(
        name=name,
        title=table["title"],
        source=content["source"],
        grouping=table["grouping"],
        protocol=table.get("protocol"),
        columns=columns,
        models={
            model: dict(zip(columns, values, strict=True))
            for model, values in table["models"].items()
        },
        uncertain=uncertain,
    )


def beside_paper(measurements: pd.DataFrame, paper: PaperTable) -> pd.DataFrame:
    """Put what was measured beside what the paper tells of models and columns of the same name.

    Names are compared without case and punctuation: ``sam_med2d`` is ``SAM-Med2D``.

    Args:
        measurements: see :func:`.measurements.measure`.
        paper: the table.

    Returns:
        ``model, column, here, paper, distance`` (here minus paper) in per cent, and ``uncertain``:
        why the paper's figure is, or ``""``.
    """
    names = {_plain(model): model for model in paper.models}
    columns = {_plain(column): column for column in paper.columns}
    rows = measurements[measurements["grouping"] == paper.grouping]
    if paper.grouping != OVERALL:
        rows = rows[rows["protocol"] == paper.protocol]
    found = []
    for row in rows.to_dict("records"):
        model = names.get(_plain(row["model"]))
        column = columns.get(_plain(row["protocol" if paper.protocol is None else "group"]))
        if model is None or column is None or (figure := paper.models[model][column]) is None:
            continue
        here = row["dsc"] * 100
        why = paper.uncertain.get((model, column), "")
        found.append((row["model"], column, here, figure, here - figure, why))
    fields = ["model", "column", "here", "paper", "distance", "uncertain"]
    frame = pd.DataFrame(found, columns=fields)
    order = frame["column"].map(list(paper.columns).index)
    return frame.iloc[order.argsort(kind="stable")].reset_index(drop=True)


def beside_paper_markdown(distances: pd.DataFrame, paper: PaperTable, models: Sequence[str]) -> str:
    """Return the distances as a table and what is to be known about them.

    Args:
        distances: see :func:`beside_paper`.
        paper: the table.
        models: that are compared, in order.
    """
    columns = [column for column in paper.columns if (distances["column"] == column).any()]
    cells = {
        (row.model, row.column): f"{row.here:.1f} / {row.paper:.1f}{'?' if row.uncertain else ''} "
        f"({row.distance:+.1f})"
        for row in distances.itertuples()
    }
    shown = [model for model in models if (distances["model"] == model).any()]
    rows = [
        [markdown_text(model), *(cells.get((model, column), "-") for column in columns)]
        for model in shown
    ]
    lines = [f"## Beside the paper: {paper.title}", ""]
    if rows:
        lines += ["Here / paper (distance), DSC in per cent.", ""]
        lines += [markdown_rows(["model", *columns], rows), ""]
    if others := [model for model in models if model not in shown]:
        lines += [
            f"Without a figure of the same name in the paper's table: {', '.join(others)}. "
            f"The table has {', '.join(paper.models)}; columns {', '.join(paper.columns)}.",
            "",
        ]
    if whys := list(dict.fromkeys(why for why in distances["uncertain"] if why)):
        lines += [f"? {'; '.join(whys)}.", ""]
    return "\n".join([*lines, f"Source: {paper.source}."])


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())
