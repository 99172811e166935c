"""Tables that a person reads, and the files of an evaluation."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from syncsam_lightning.evaluation.bootstrap import LEVEL, RESAMPLES
from syncsam_lightning.evaluation.summary import ALL, GROUPINGS, SummaryRow, summarise
from syncsam_lightning.whole_files import whole_file

FILL_BOX = "fill box"
NOT_SUPPORTED = "not supported"
_NOTHING = "-"
_OVERVIEW = f"""\
DSC at the original resolution: mean ± standard deviation. `{FILL_BOX}` is the trivial baseline that
fills the tight box of what the first protocol scores."""
_DETAILS = f"""\
The interval is the {LEVEL:.0%} percentile interval of {RESAMPLES:,} bootstrap resamples of cases
(of images where the case is unknown), not of masks. DSC is mean ± standard deviation over masks, or
over images where the protocol averages over them; `sd over seeds` is that of the mean from one seed
of the simulated clicks to the next. HD95 is in pixels of the original image."""


class Report:
    """The result of an evaluation.

    Args:
        scores: of every mask, protocol and seed, with the columns of ``scores.parquet``.
        unsupported: names of protocols that were asked for but can't be played by the model.
        not_scored: of each image that could not be scored, which it is and why.
        unseen: images that were left out because the test was limited to some batches.
    """

    def __init__(
        self,
        scores: pa.Table,
        unsupported: Sequence[str] = (),
        not_scored: Sequence[str] = (),
        unseen: int = 0,
    ) -> None:
        self.unseen = unseen
        self.scores = scores
        self.not_scored = list(not_scored)
        self.protocols: list[str] = pc.unique(scores["protocol"]).to_pylist()
        self.unsupported = list(unsupported)
        self.summary = summarise(scores)
        self._found = {(r.protocol, r.metric, r.group, r.name): r for r in self.summary}

    def rows(self) -> list[tuple[str, ...]]:
        """Return the overview as text: group, name, masks, filling the box, each protocol."""
        names = [(ALL, "")]
        for title, column in GROUPINGS.items():
            present = sorted(pc.unique(self.scores[column]).to_pylist())
            names += [(title, name) for name in present]
        return [self._row(group, name) for group, name in names]

    def _row(self, group: str, name: str) -> tuple[str, ...]:
        first = self.protocols[0] if self.protocols else ""
        box = self._found.get((first, "fill_box_dice", group, name))
        scores = [self._found.get((p, "dice", group, name)) for p in self.protocols]
        return (
            group,
            name,
            str(0 if box is None else box.masks),
            *(_NOTHING if r is None else f"{r.mean:.3f} ± {r.std:.3f}" for r in (box, *scores)),
            *(NOT_SUPPORTED for _ in self.unsupported),
        )

    def markdown(self) -> str:
        """Return the overview in Markdown, aligned so that it reads well in a terminal too."""
        header = ("group", "name", "masks", FILL_BOX, *self.protocols, *self.unsupported)
        return _markdown([header, *self.rows()])

    def details(self) -> str:
        """Return what is known of each protocol's mean over everything, in Markdown."""
        rows = [tuple(_COLUMNS)]
        for protocol in self.protocols:
            whole = {
                row.metric: row
                for row in self.summary
                if (row.protocol, row.group) == (protocol, ALL)
            }
            rows.append((protocol, *(show(whole) for show in list(_COLUMNS.values())[1:])))
        blank = (NOT_SUPPORTED,) * (len(_COLUMNS) - 1)
        rows += [(protocol, *blank) for protocol in self.unsupported]
        return _markdown(rows)

    def left_out(self) -> str:
        """Return in Markdown which images are not in the numbers and why, or an empty text."""
        told = []
        if self.unseen:
            told.append(
                f"**A part only:** the test was limited to some batches, and {self.unseen} of its "
                "images were not looked at."
            )
        if self.not_scored:
            lines = "\n".join(f"- {_cell(reason)}" for reason in self.not_scored)
            told.append(f"{len(self.not_scored)} images are not scored:\n\n{lines}")
        return "\n\n".join(told)

    def seeds(self) -> str:
        """Return the seeds of the simulated clicks, as text."""
        return ", ".join(str(seed) for seed in sorted(pc.unique(self.scores["seed"]).to_pylist()))

    def write(self, folder: Path) -> None:
        """Write the scores (Parquet, CSV), the summary (CSV, JSON) and ``report.md`` to a folder.

        Each file appears whole or not at all.
        """
        folder.mkdir(parents=True, exist_ok=True)
        summary = [asdict(row) for row in self.summary]
        with whole_file(folder / "scores.parquet") as file:
            pq.write_table(self.scores, file)
        with whole_file(folder / "scores.csv") as file:
            pa_csv.write_csv(self.scores, file)
        if summary:
            table = pa.Table.from_pylist([_without_nan(row) for row in summary])
            with whole_file(folder / "summary.csv") as file:
                pa_csv.write_csv(table, file)
        content = {
            "bootstrap": {"resamples": RESAMPLES, "level": LEVEL, "of": "cases", "seed": 0},
            "unsupported_protocols": self.unsupported,
            "not_scored": self.not_scored,
            "images_not_looked_at": self.unseen,
            "rows": [_without_nan(row) for row in summary],
        }
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        with whole_file(folder / "summary.json") as file:
            file.write(text.encode())
        report = (
            f"# Evaluation\n\n{self.markdown()}\n\n{_OVERVIEW}\n\n## All masks\n\n"
            f"{self.details()}\n\n{_DETAILS}\n\nSeeds of the simulated clicks: {self.seeds()}.\n"
        )
        if left_out := self.left_out():
            report += f"\n## Not scored\n\n{left_out}\n"
        with whole_file(folder / "report.md") as file:
            file.write(report.encode())


def _without_nan(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}


def _number(value: float | None, digits: int = 3) -> str:
    return _NOTHING if value is None or math.isnan(value) else f"{value:.{digits}f}"


def _interval(row: SummaryRow) -> str:
    return f"{_number(row.ci_low)} to {_number(row.ci_high)}"


def _mean(whole: Mapping[str, SummaryRow], metric: str, digits: int = 3) -> str:
    return _number(whole[metric].mean if metric in whole else None, digits)


_Cell = Callable[[Mapping[str, SummaryRow]], str]
_COLUMNS: Mapping[str, _Cell] = {
    "protocol": lambda whole: whole["dice"].protocol,
    "masks": lambda whole: str(whole["dice"].masks),
    "images": lambda whole: str(whole["dice"].images),
    "cases": lambda whole: str(whole["dice"].cases),
    "averages": lambda whole: whole["dice"].averaging,
    "DSC": lambda whole: f"{_mean(whole, 'dice')} ± {_number(whole['dice'].std)}",
    "95 % interval": lambda whole: _interval(whole["dice"]),
    "over masks": lambda whole: _number(whole["dice"].mean_over_masks),
    "over images": lambda whole: _number(whole["dice"].mean_over_images),
    "over classes": lambda whole: _number(whole["dice"].mean_over_classes),
    "seeds": lambda whole: str(whole["dice"].seeds),
    "sd over seeds": lambda whole: _number(whole["dice"].std_over_seeds, 4),
    "IoU": lambda whole: _mean(whole, "iou"),
    "HD95": lambda whole: _mean(whole, "hd95", 2),
    "NSD": lambda whole: _mean(whole, "nsd"),
}
"""Columns of the details; what each shows is looked up by metric."""


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    """Return rows, the first being the header, as a table whose columns line up."""
    cells = [[_cell(text) for text in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]

    def line(row: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = line(["-" * width for width in widths])
    return "\n".join([line(cells[0]), rule, *(line(row) for row in cells[1:])])


def _cell(text: str) -> str:
    """Return a text that stays in its cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")
