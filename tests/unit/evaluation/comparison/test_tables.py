"""Tables mark what is best as printed, and say the same in Markdown and LaTeX."""

from __future__ import annotations

import pytest

from syncsam_lightning.evaluation.comparison.latex import latex_table, latex_text
from syncsam_lightning.evaluation.comparison.markdown import markdown_table, markdown_text
from syncsam_lightning.evaluation.comparison.measurements import Settings, measure
from syncsam_lightning.evaluation.comparison.tables import Cell, Table, build_tables


@pytest.fixture
def tables(paired):
    def make(**models):
        scores = paired(**models)
        frame = measure(scores, Settings(resamples=20))
        return {table.name: table for table in build_tables(frame, scores.models)}

    return make


def marks(table: Table) -> dict[str, str]:
    return {model: cell.mark for (model, _), cell in table.cells.items()}


def test_the_best_and_the_second_are_marked(tables, rows):
    table = tables(a=rows([0.1]), b=rows([0.3]), c=rows([0.2]))["overall"]
    assert marks(table) == {"a": "", "b": "best", "c": "second"}


def test_equals_as_printed_share_the_best_mark_and_leave_no_second(tables, rows):
    table = tables(a=rows([0.1]), b=rows([0.30001]), c=rows([0.29999]))["overall"]
    assert marks(table) == {"a": "", "b": "best", "c": "best"}


def test_two_seconds_share_their_mark(tables, rows):
    table = tables(a=rows([0.1]), b=rows([0.3]), c=rows([0.1]))["overall"]
    assert marks(table) == {"a": "second", "b": "best", "c": "second"}


def test_one_model_alone_is_not_the_best(tables, rows):
    assert marks(tables(a=rows([0.1]))["overall"]) == {"a": ""}


def test_a_difference_in_every_one_of_many_cases_has_its_star(tables, rows):
    high = [0.5 + n / 100 for n in range(12)]
    table = tables(a=rows(high), b=rows([v - 0.1 for v in high]), c=rows([*high[:-1], 0.0]))
    cells = table["overall"].cells
    assert [cells[model, "box"].differs for model in "abc"] == [False, True, False]


def test_there_is_a_table_of_protocols_and_three_for_each(tables, rows):
    both = rows([0.1]) + rows([0.2], protocol="1pt")
    assert list(tables(a=both)) == [
        "overall",
        "data_set_box",
        "data_set_1pt",
        "modality_box",
        "modality_1pt",
        "class_box",
        "class_1pt",
    ]


def test_markdown_shows_marks_missing_protocols_and_counts(tables, rows):
    points = rows([0.4, 0.6], protocol="1pt")
    found = tables(
        medsam=rows([0.2, 0.4]), sam=[rows([0.5, 0.7]) + points, rows([0.6, 0.8]) + points]
    )
    assert markdown_table(found["overall"]).splitlines() == [
        "| model           | box             | 1pt        |",
        "| --------------- | --------------- | ---------- |",
        "| medsam          | <ins>30.0</ins> | -          |",
        "| sam             | **65.0** ± 7.1  | 50.0 ± 0.0 |",
        "| masks           | 2               | 2          |",
        "| images          | 2               | 2          |",
        "| filling the box | 50.0            | 50.0       |",
    ]


def test_many_groups_become_rows(tables, rows):
    many = [row | {"label": f"class {n}"} for n, row in enumerate(rows([0.1] * 9))]
    lines = markdown_table(tables(a=many, b=many)["class_box"]).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["class", "a", "b", "masks", "images", "filling the box"]
    assert cells[2] == ["class 0", "**10.0**", "**10.0**", "1", "1", "50.0"]
    assert len(cells) == 2 + 9


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b", r"a\_b"),
        ("50 % & more", r"50 \% \& more"),
        ("{x}$#", r"\{x\}\$\#"),
        ("\\input~^", r"\textbackslash{}input\textasciitilde{}\textasciicircum{}"),
        ("two\nlines", "two lines"),
        ("a<b|c>", r"a\textless{}b\textbar{}c\textgreater{}"),
    ],
)
def test_latex_has_no_commands_from_names(text, expected):
    assert latex_text(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a|b", r"a\|b"), ("a_b*", r"a_b\*"), ("_a_", r"\_a\_"), ("x\ny <i>", r"x y \<i>")],
)
def test_markdown_has_no_marks_from_names(text, expected):
    assert markdown_text(text) == expected


def test_latex_is_a_booktabs_table():
    table = Table(
        name="data_set_box",
        title="by data set",
        kind="data set",
        models=["A_1", "B"],
        columns=["x&y", "z"],
        cells={
            ("A_1", "x&y"): Cell(81.26, 0.31, "best", False),
            ("B", "x&y"): Cell(70.0, None, "second", True),
            ("B", "z"): Cell(5.0, None, "", False),
        },
        counts={"masks": {"x&y": "1,234", "z": "1"}},
    )
    assert latex_table(table, "DSC in %").splitlines() == [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"  \centering",
        r"  \caption{DSC in \%}",
        r"  \label{tab:data-set-box}",
        r"  \begin{tabular}{lrr}",
        r"    \toprule",
        r"    model & x\&y & z \\",
        r"    \midrule",
        r"    A\_1 & \textbf{81.3} $\pm$ 0.3 & - \\",
        r"    B & \underline{70.0}$^{*}$ & 5.0 \\",
        r"    \midrule",
        r"    masks & 1,234 & 1 \\",
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
