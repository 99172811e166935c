"""Tables in Markdown, aligned so that they read well in a terminal too."""

from __future__ import annotations

import re
from collections.abc import Sequence

from syncsam_lightning.evaluation.comparison.tables import Cell, Table, lay_out

# Within a word an underscore is one, as in many names of data sets.
_MARKS = re.compile(r"[\\|*`<]|(?<!\w)_|_(?!\w)")


def markdown_table(table: Table) -> str:
    """Return a table; the best is bold, the second best underlined (``<ins>``)."""
    grid = lay_out(table, text=markdown_text, cell=_cell)
    return markdown_rows(grid.header, [*grid.body, *grid.footer])


def markdown_rows(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of texts that are Markdown already."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    return "\n".join([line(header), line(["-" * width for width in widths]), *map(line, rows)])


def markdown_text(text: str) -> str:
    """Return a text that stays in its cell and stands for itself."""
    return _MARKS.sub(r"\\\g<0>", " ".join(text.split()))


def _cell(cell: Cell) -> str:
    number = f"{cell.dsc:.1f}"
    shown = {"best": f"**{number}**", "second": f"<ins>{number}</ins>", "": number}
    star = "\\*" if cell.differs else ""
    return shown[cell.mark] + star + ("" if cell.sd is None else f" ± {cell.sd:.1f}")
