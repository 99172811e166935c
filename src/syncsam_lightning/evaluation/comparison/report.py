"""What a comparison leaves in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from syncsam_lightning.evaluation.comparison.latex import latex_table
from syncsam_lightning.evaluation.comparison.markdown import (
    markdown_rows,
    markdown_table,
    markdown_text,
)
from syncsam_lightning.evaluation.comparison.measurements import (
    FEWEST_UNITS,
    OVERALL,
    Settings,
    measure,
)
from syncsam_lightning.evaluation.comparison.pairing import PairedScores
from syncsam_lightning.evaluation.comparison.paper import (
    PaperTable,
    beside_paper,
    beside_paper_markdown,
)
from syncsam_lightning.evaluation.comparison.tables import SIGNIFICANT, Table, build_tables


@dataclass(frozen=True, slots=True)
class Comparison:
    """Paired scores with everything that is computed from them.

    Args:
        paired: the scores.
        settings: of intervals and tests.
        measurements: see :func:`.measurements.measure`.
        tables: see :func:`.tables.build_tables`.
        notes: what a reader should know.
        paper: a table of the paper to put beside, or None.
    """

    paired: PairedScores
    settings: Settings
    measurements: pd.DataFrame
    tables: Sequence[Table]
    notes: Sequence[str]
    paper: PaperTable | None = None

    @classmethod
    def of(
        cls,
        paired: PairedScores,
        settings: Settings,
        *,
        warnings: Sequence[str] = (),
        paper: PaperTable | None = None,
    ) -> Comparison:
        """Compute it all.

        Args:
            paired: the scores.
            settings: of intervals and tests.
            warnings: further notes, to come first.
            paper: a table of the paper to put beside, or None.
        """
        measurements = measure(paired, settings)
        tables = build_tables(measurements, paired.models)
        notes = (*warnings, *paired.notes, *_few_units(measurements, settings))
        return cls(paired, settings, measurements, tables, notes, paper)

    def summary(self) -> str:
        """Return what is printed: the table of all masks, the notes, the distance to the paper."""
        parts = [markdown_table(self.tables[0]), self._legend(), *self._notes()]
        if self.paper is not None:
            parts.append(self._beside_paper(self.paper))
        return "\n\n".join(parts)

    def markdown(self, drawings: Sequence[str] = ()) -> str:
        """Return the whole report.

        Args:
            drawings: files to show, relative to the report.
        """
        parts = ["# Comparison of models: DSC in per cent", self._legend(), *self._notes()]
        parts += ["## Runs", self._runs()]
        for table in self.tables:
            parts += [f"## {table.title[0].upper()}{table.title[1:]}", markdown_table(table)]
            if table is self.tables[0]:
                parts += ["### Differences to the best", self._method(), self._differences()]
        if self.paper is not None:
            parts.append(self._beside_paper(self.paper))
        if drawings:
            parts += ["## Drawings", *(f"![{Path(name).stem}]({name})" for name in drawings)]
        return "\n\n".join(parts) + "\n"

    def write(self, folder: Path, drawings: Sequence[str] = ()) -> None:
        """Write the report and its tables.

        ``comparison.md`` has everything a reader needs; ``comparison.csv`` every number, in one
        row each; ``unpaired.csv`` what was left out; ``tables`` each table as CSV and LaTeX;
        ``beside_paper.csv`` the distance to the paper.

        Args:
            folder: where to; made if need be.
            drawings: files that lie there already, for the report to show.
        """
        (folder / "tables").mkdir(parents=True, exist_ok=True)
        (folder / "comparison.md").write_text(self.markdown(drawings), encoding="utf-8")
        self.measurements.to_csv(folder / "comparison.csv", index=False)
        self.paired.unpaired.to_csv(folder / "unpaired.csv", index=False)
        for table in self.tables:
            caption = f"DSC in per cent, {table.title}. {self._legend()}"
            text = latex_table(table, caption)
            (folder / "tables" / f"{table.name}.tex").write_text(text, encoding="utf-8")
            _wide(table).to_csv(folder / "tables" / f"{table.name}.csv", index_label="model")
        if self.paper is not None:
            distances = beside_paper(self.measurements, self.paper)
            distances.to_csv(folder / "beside_paper.csv", index=False)

    def _legend(self) -> str:
        parts = ["The best of a column is bold, the second best underlined"]
        if (self.measurements["num_runs"] > 1).any():
            parts.append("± is the sample standard deviation over runs and seeds")
        parts.append(f"* differs from the best (corrected p < {SIGNIFICANT:g})")
        parts.append("all models on the same masks")
        return "; ".join(parts) + "."

    def _method(self) -> str:
        unit, settings = self.settings.unit, self.settings
        return (
            f"Intervals ({settings.confidence:.0%}) are percentiles of {settings.resamples} "
            f"bootstrap resamples of {unit}s with all their masks, the same for all models of a "
            "column. Tests are two-sided Wilcoxon signed-rank tests of the means per "
            f"{unit}, since masks of one {unit} depend on each other; equal pairs are dropped. p "
            "values are corrected by Holm's method for the number of models tested in a column. "
            "The best is chosen by the same data, which favours it slightly."
        )

    def _notes(self) -> list[str]:
        return ["\n".join(f"- note: {note}" for note in self.notes)] if self.notes else []

    def _runs(self) -> str:
        rows = [
            [markdown_text(replicate.model), f"`{replicate.folder}`", str(replicate.seed)]
            for replicate in self.paired.replicates
        ]
        return markdown_rows(["model", "folder", "seed"], rows)

    def _differences(self) -> str:
        header = ["protocol", "model", "DSC", "interval", "difference", "interval", "p", "pairs"]
        rows = []
        for row in self.measurements[self.measurements["grouping"] == OVERALL].itertuples():
            is_best = np.isnan(row.p_holm)
            rows.append(
                [
                    markdown_text(row.protocol),
                    markdown_text(row.model),
                    f"{row.dsc * 100:.1f}",
                    _interval(row.low, row.high),
                    "best" if is_best else f"{row.difference * 100:+.1f}",
                    "" if is_best else _interval(row.difference_low, row.difference_high),
                    "" if is_best else _p(row.p_holm),
                    f"{row.num_units:,}",
                ]
            )
        return markdown_rows(header, rows)

    def _beside_paper(self, paper: PaperTable) -> str:
        distances = beside_paper(self.measurements, paper)
        return beside_paper_markdown(distances, paper, self.paired.models)


def _few_units(measurements: pd.DataFrame, settings: Settings) -> list[str]:
    overall = measurements[measurements["grouping"] == OVERALL]
    few = overall[overall["num_units"] < FEWEST_UNITS].drop_duplicates("protocol")
    if few.empty:
        return []
    found = ", ".join(f"{row.num_units} under {row.protocol}" for row in few.itertuples())
    hint = "" if settings.unit == "image" else "; --unit image takes images to be independent"
    return [f"few {settings.unit}s ({found}): intervals and tests say little{hint}"]


def _wide(table: Table) -> pd.DataFrame:
    """Return DSC in per cent, models as rows; with several runs a column for their deviation."""
    columns: dict[str, list[float | None]] = {}
    for column in table.columns:
        cells = [table.cells.get((model, column)) for model in table.models]
        columns[column] = [None if cell is None else round(cell.dsc, 4) for cell in cells]
        deviations = [None if cell is None or cell.sd is None else cell.sd for cell in cells]
        if any(deviation is not None for deviation in deviations):
            columns[f"{column} sd"] = [None if d is None else round(d, 4) for d in deviations]
    return pd.DataFrame(columns, index=list(table.models))


def _interval(low: float, high: float) -> str:
    return "-" if np.isnan(low) else f"{low * 100:.1f} to {high * 100:.1f}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
