"""From scores per mask to tables a person reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from syncsam_lightning.evaluation.scores import MaskScore, score_table

FILL_BOX = "fill box"
_GROUPINGS = (("data set", "source"), ("modality", "modality"), ("class", "label"))


class Report:
    """The result of an evaluation.

    Args:
        scores: of every mask and protocol.
    """

    def __init__(self, scores: Sequence[MaskScore]) -> None:
        self.scores = list(scores)
        self.protocols = list(dict.fromkeys(score.protocol for score in self.scores))

    def rows(self) -> list[tuple[str, ...]]:
        """Return the table as text: group, name, masks, filling the box, each protocol."""
        rows = [self._row("all", "", self.scores)]
        for title, attribute in _GROUPINGS:
            members: dict[str, list[MaskScore]] = defaultdict(list)
            for score in self.scores:
                members[getattr(score, attribute)].append(score)
            rows += [self._row(title, name, members[name]) for name in sorted(members)]
        return rows

    def _row(self, group: str, name: str, scores: Sequence[MaskScore]) -> tuple[str, ...]:
        by_protocol = {
            protocol: [score for score in scores if score.protocol == protocol]
            for protocol in self.protocols
        }
        first = by_protocol[self.protocols[0]] if self.protocols else []
        return (
            group,
            name,
            str(len(first)),
            _mean_and_std(score.fill_box_dice for score in first),
            *(_mean_and_std(s.dice for s in members) for members in by_protocol.values()),
        )

    def markdown(self) -> str:
        """Return the table in Markdown, aligned so that it reads well in a terminal too."""
        header = ("group", "name", "masks", FILL_BOX, *self.protocols)
        rows = [header, *(tuple(map(_cell, row)) for row in self.rows())]
        widths = [max(len(row[column]) for row in rows) for column in range(len(header))]

        def line(cells: Sequence[str]) -> str:
            padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
            return f"| {' | '.join(padded)} |"

        rule = line(["-" * width for width in widths])
        return "\n".join([line(header), rule, *(line(row) for row in rows[1:])])

    def write(self, folder: Path) -> None:
        """Write ``scores.parquet``, ``scores.csv`` and ``report.md`` into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        table = score_table(self.scores)
        for name, write in (("scores.parquet", pq.write_table), ("scores.csv", pa_csv.write_csv)):
            partial = folder / f".{name}.partial"
            write(table, partial)
            partial.replace(folder / name)
        text = (
            "# DSC at the original resolution, mean ± standard deviation over masks\n\n"
            f"`{FILL_BOX}` is the trivial baseline that fills the tight box.\n\n{self.markdown()}\n"
        )
        (folder / "report.md").write_text(text, encoding="utf-8")


def _cell(text: str) -> str:
    """Return a text that stays in its cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def _mean_and_std(values: Iterable[float]) -> str:
    array = np.array(list(values))
    return f"{array.mean():.3f} ± {array.std():.3f}" if array.size else "-"
