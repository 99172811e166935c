"""Tables in LaTeX, with the rules of the package booktabs."""

from __future__ import annotations

from collections.abc import Sequence

from syncsam_lightning.evaluation.comparison.tables import Cell, Table, lay_out

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def latex_text(text: str) -> str:
    """Return a text in which no character is a command."""
    return "".join(_ESCAPES.get(sign, sign) for sign in " ".join(text.split()))


def latex_table(table: Table, caption: str) -> str:
    """Return a ``table`` environment; the best is bold, the second best underlined.

    Args:
        table: what to write.
        caption: what a reader needs to know, unescaped.
    """
    grid = lay_out(table, text=latex_text, cell=_cell)
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        "  \\centering",
        f"  \\caption{{{latex_text(caption)}}}",
        f"  \\label{{tab:{table.name.replace('_', '-')}}}",
        f"  \\begin{{tabular}}{{l{'r' * (len(grid.header) - 1)}}}",
        "    \\toprule",
        _row(grid.header),
        "    \\midrule",
        *map(_row, grid.body),
    ]
    if grid.footer:
        lines += ["    \\midrule", *map(_row, grid.footer)]
    lines += ["    \\bottomrule", "  \\end{tabular}", "\\end{table}"]
    return "\n".join(lines) + "\n"


def _row(cells: Sequence[str]) -> str:
    return f"    {' & '.join(cells)} \\\\"


def _cell(cell: Cell) -> str:
    number = f"{cell.dsc:.1f}"
    shown = {"best": f"\\textbf{{{number}}}", "second": f"\\underline{{{number}}}", "": number}
    star = "$^{*}$" if cell.differs else ""
    return shown[cell.mark] + star + ("" if cell.sd is None else f" $\\pm$ {cell.sd:.1f}")
