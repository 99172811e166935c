"""The paper's figures are the paper's, and distances to them are those by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from syncsam_lightning.errors import ComparisonError
from syncsam_lightning.evaluation.comparison.paper import (
    beside_paper,
    beside_paper_markdown,
    paper_table,
)

SHARED = Path(__file__).parents[5] / "shared" / "paper_tables.json"
NAMES = {
    "table2": "table2_samed_test",
    "table3": "table3_imed_test",
    "table4": "table4_zero_shot_box",
}


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_figures_are_those_that_were_read_from_the_paper(name):
    if not SHARED.exists():
        pytest.skip("the figures as read from the paper are not at ../shared")
    read = json.loads(SHARED.read_text())[NAMES[name]]
    table = paper_table(name)
    assert list(table.columns) == [column.split(" (")[0] for column in read["columns"]]
    assert {m: list(values.values()) for m, values in table.models.items()} == read["rows"]


def test_some_figures_by_heart():
    assert paper_table("table2").models["MedSAM"] == {"box": 80.8, "1pt": None, "5pts": None}
    assert paper_table("table3").models["SyncSAM-IMed-50"]["5pts"] == 89.7
    assert paper_table("table4").models["SyncSAM-SAMed-50"]["CURVAS"] == 93.0


def test_what_is_uncertain_is_marked():
    table2, table4 = paper_table("table2").uncertain, paper_table("table4").uncertain
    assert set(table2) == {("SyncSAM-SAMed-34", "box"), ("SyncSAM-SAMed-50", "box")}
    assert ("SAM", "EBHI") in table4
    assert ("SAM", "STS") not in table4
    assert ("SyncSAM-IMed-34", "STS") in table4


def test_another_table_is_refused():
    with pytest.raises(ComparisonError, match="'table9' is none of table2, table3, table4"):
        paper_table("table9")


def measurements(*rows):
    return pd.DataFrame(rows, columns=["grouping", "group", "protocol", "model", "dsc"])


def test_names_meet_without_case_and_punctuation_and_distances_are_those_by_hand():
    frame = beside_paper(
        measurements(
            ("overall", "", "1pt", "sam_med2d", 0.7),
            ("overall", "", "box", "sam_med2d", 0.75),
            ("overall", "", "1pt", "MedSAM", 0.2),  # the paper has none
            ("overall", "", "box", "SyncSAM-SAMed-34", 0.88),
            ("overall", "", "box", "mine", 0.9),
            ("data set", "A", "box", "SAM", 0.9),
        ),
        paper_table("table2"),
    )
    assert frame[["model", "column", "paper"]].to_numpy().tolist() == [
        ["sam_med2d", "box", 78.2],
        ["SyncSAM-SAMed-34", "box", 87.0],
        ["sam_med2d", "1pt", 68.3],
    ]
    assert frame["distance"].tolist() == pytest.approx([-3.2, 1.0, 1.7])
    assert frame["uncertain"].tolist() == ["", "taken from rows 10 and 12 of Table 5", ""]


def test_table_4_is_about_data_sets_under_the_box():
    frame = beside_paper(
        measurements(
            ("data set", "Sts", "box", "SAM", 0.6),
            ("data set", "Sts", "1pt", "SAM", 0.1),
            ("data set", "other", "box", "SAM", 0.1),
        ),
        paper_table("table4"),
    )
    assert frame[["column", "here", "paper"]].to_numpy().tolist() == [["STS", 60.0, 63.4]]


def test_the_text_shows_both_numbers_the_distance_and_what_is_uncertain():
    table = paper_table("table2")
    frame = beside_paper(measurements(("overall", "", "box", "syncsam_samed_50", 0.9)), table)
    text = beside_paper_markdown(frame, table, ["syncsam_samed_50", "mine"])
    assert "| syncsam_samed_50 | 90.0 / 88.2? (+1.8) |" in text
    assert "Without a figure of the same name in the paper's table: mine." in text
    assert "? taken from rows 10 and 12 of Table 5." in text
    assert text.endswith("DSC in per cent, mean of three runs.")


def test_no_model_of_the_paper_is_told():
    table = paper_table("table2")
    frame = beside_paper(measurements(("overall", "", "box", "mine", 0.9)), table)
    text = beside_paper_markdown(frame, table, ["mine"])
    assert "same name in the paper's table: mine. The table has SAM, MedSAM" in text
