"""A comparison leaves every number, in each of its files."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from scipy import stats

from syncsam_lightning.evaluation.comparison.measurements import Settings
from syncsam_lightning.evaluation.comparison.paper import paper_table
from syncsam_lightning.evaluation.comparison.report import Comparison

EQUAL_DIFFERENCES = stats.wilcoxon([0.2] * 9, method="asymptotic").pvalue


@pytest.fixture
def comparison(paired, rows):
    low = [0.30 + n / 100 for n in range(10)]
    high = [value + 0.2 for value in low]
    scores = paired(SAM=rows(low), MedSAM=[rows(high), rows([*high[:-1]])])
    return Comparison.of(
        scores, Settings(resamples=100), warnings=["look out"], paper=paper_table("table2")
    )


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_folder_holds_reports_and_a_file_for_each_table(comparison, tmp_path):
    comparison.write(tmp_path / "new" / "out")
    files = {p.relative_to(tmp_path / "new/out").as_posix() for p in tmp_path.rglob("new/out/**/*")}
    tables = {f"{name}_box" for name in ("data_set", "modality", "class")} | {"overall"}
    expected = {f"tables/{name}.{suffix}" for name in tables for suffix in ("csv", "tex")}
    reports = {"comparison.md", "comparison.csv", "unpaired.csv", "beside_paper.csv", "tables"}
    assert files == expected | reports


def test_the_tidy_file_has_a_row_for_each_number(comparison, tmp_path):
    comparison.write(tmp_path)
    sam, medsam = read(tmp_path / "comparison.csv")[:2]
    assert (sam["model"], sam["grouping"], sam["num_masks"]) == ("SAM", "overall", "9")
    assert float(sam["dsc"]) == pytest.approx(0.34)
    assert float(medsam["dsc"]) == pytest.approx(0.54)
    assert float(sam["difference"]) == pytest.approx(-0.2)
    assert float(sam["p_holm"]) == pytest.approx(EQUAL_DIFFERENCES)
    assert medsam["p_holm"] == ""


def test_what_was_left_out_is_listed(comparison, tmp_path):
    comparison.write(tmp_path)
    (lost,) = read(tmp_path / "unpaired.csv")
    assert (lost["image_id"], lost["missing_in"]) == ("i9", "MedSAM")


def test_the_wide_file_has_models_as_rows_in_per_cent(comparison, tmp_path):
    comparison.write(tmp_path)
    assert read(tmp_path / "tables/overall.csv") == [
        {"model": "SAM", "box": "34.0", "box sd": ""},
        {"model": "MedSAM", "box": "54.0", "box sd": "0.0"},
    ]


def test_the_report_tells_how_and_how_sure(comparison):
    text = comparison.markdown()
    assert "- note: look out\n- note: 1 of 10 scores are left out" in text
    assert "| SAM             | <ins>34.0</ins>\\* |" in text
    assert "± is the sample standard deviation over runs and seeds" in text
    assert "Intervals (95%) are percentiles of 100 bootstrap resamples of cases" in text
    assert "Wilcoxon signed-rank tests of the means per case" in text
    assert "Holm's method" in text
    assert "| -20.0      | -20.0 to -20.0 | 0.003 | 9     |" in text


def test_few_cases_are_told(paired, rows):
    few = Comparison.of(paired(a=rows([0.1] * 5), b=rows([0.2] * 5)), Settings(resamples=20))
    assert few.notes == (
        "few cases (5 under box): intervals and tests say little; --unit image takes images to be "
        "independent",
    )


def test_drawings_are_shown(comparison):
    assert comparison.markdown(["gallery.png"]).endswith("## Drawings\n\n![gallery](gallery.png)\n")


def test_the_summary_has_the_main_table_notes_and_the_paper(comparison):
    text = comparison.summary()
    assert text.startswith("| model ")
    assert "look out" in text
    assert "| SAM    | 34.0 / 66.6 (-32.6)" in text


def test_latex_says_what_its_marks_mean(comparison, tmp_path):
    comparison.write(tmp_path)
    text = (tmp_path / "tables/overall.tex").read_text(encoding="utf-8")
    assert r"MedSAM & \textbf{54.0} $\pm$ 0.0 \\" in text
    assert r"corrected p \textless{} 0.05" in text
