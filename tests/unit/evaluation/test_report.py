"""Tables hold the means that hand calculation gives."""

import csv
import json

import pyarrow.parquet as pq
import pytest

from syncsam_lightning.evaluation.report import Report
from syncsam_lightning.evaluation.scores import SCORE_FIELDS, score_table


@pytest.fixture
def scores(score):
    return [
        score(0.2),
        score(0.4, source="B", modality="mr", index=1),
        score(0.9, label="spleen", fill_box_dice=0.8, mask_id=1),
        score(0.1, protocol="1pt"),
    ]


@pytest.fixture
def report(scores):
    return Report(score_table(scores))


def cells(line):
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_means_and_deviations_are_those_by_hand(report):
    rows = {row[:2]: row[2:] for row in report.rows()}
    assert rows["all", ""] == ("3", "0.600 ± 0.141", "0.500 ± 0.294", "0.100 ± 0.000")
    assert rows["data set", "A"] == ("2", "0.650 ± 0.150", "0.550 ± 0.350", "0.100 ± 0.000")
    assert rows["modality", "mr"] == ("1", "0.500 ± 0.000", "0.400 ± 0.000", "-")
    assert rows["class", "spleen"] == ("1", "0.800 ± 0.000", "0.900 ± 0.000", "-")


def test_groups_are_in_order(report):
    assert [row[:2] for row in report.rows()] == [
        ("all", ""),
        ("data set", "A"),
        ("data set", "B"),
        ("modality", "ct"),
        ("modality", "mr"),
        ("class", "liver"),
        ("class", "spleen"),
    ]


def test_the_table_is_aligned_and_names_the_trivial_baseline(report):
    lines = report.markdown().splitlines()
    assert len({len(line) for line in lines}) == 1
    assert cells(lines[0]) == ["group", "name", "masks", "fill box", "box", "1pt"]


def test_the_details_say_how_certain_a_mean_is(score):
    table = [
        score(0.2 * index + 0.1 * seed, index=index, seed=seed, protocol="1pt", hd95=4.0, nsd=0.5)
        for index in range(3)
        for seed in (0, 1)
    ]
    header, _, row = Report(score_table(table)).details().splitlines()
    found = dict(zip(cells(header), cells(row), strict=True))
    assert (found["masks"], found["images"], found["cases"], found["seeds"]) == ("3", "3", "1", "2")
    assert found["DSC"] == "0.250 ± 0.163"
    assert found["95 % interval"] == "- to -"  # all masks are of one case
    assert found["sd over seeds"] == "0.0707"
    assert (found["HD95"], found["NSD"]) == ("4.00", "0.500")


def test_metrics_that_were_not_measured_are_a_dash(report):
    header, _, row, _ = report.details().splitlines()
    found = dict(zip(cells(header), cells(row), strict=True))
    assert (found["HD95"], found["NSD"], found["sd over seeds"]) == ("-", "-", "-")


def test_protocols_that_the_model_cannot_play_stand_in_every_table(scores, tmp_path):
    report = Report(score_table(scores), unsupported=["5pts"])
    header, _, *rows = report.markdown().splitlines()
    assert cells(header)[-1] == "5pts"
    assert {cells(row)[-1] for row in rows} == {"not supported"}
    last = cells(report.details().splitlines()[-1])
    assert last[0] == "5pts"
    assert set(last[1:]) == {"not supported"}
    report.write(tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text())["unsupported_protocols"] == ["5pts"]


def test_files_hold_every_score(report, tmp_path):
    folder = tmp_path / "new" / "test"
    report.write(folder)
    assert sorted(p.name for p in folder.iterdir()) == [
        "report.md",
        "scores.csv",
        "scores.parquet",
        "summary.csv",
        "summary.json",
    ]
    rows = pq.read_table(folder / "scores.parquet").to_pylist()
    assert [row["dice"] for row in rows] == [0.2, 0.4, 0.9, 0.1]
    assert [row["hd95"] for row in rows] == [None] * 4
    assert tuple(rows[0]) == SCORE_FIELDS
    with (folder / "scores.csv").open() as file:
        assert [float(row["dice"]) for row in csv.DictReader(file)] == [0.2, 0.4, 0.9, 0.1]
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert report.markdown() in text
    assert report.details() in text


def test_the_summary_is_the_same_as_csv_and_as_json(report, tmp_path):
    report.write(tmp_path)
    with (tmp_path / "summary.csv").open() as file:
        table = list(csv.DictReader(file))
    content = json.loads((tmp_path / "summary.json").read_text())
    assert content["bootstrap"]["of"] == "cases"
    assert len(table) == len(content["rows"]) == len(report.summary)
    for line, row in zip(table, content["rows"], strict=True):
        for key, value in row.items():
            shown = line[key]
            assert float(shown) == value if isinstance(value, float) else shown == str(value or "")


def test_a_report_of_nothing_is_a_table_without_means(tmp_path):
    report = Report(score_table([]))
    assert report.rows() == [("all", "", "0", "-")]
    report.write(tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text())["rows"] == []


def test_a_name_cannot_break_the_table(score):
    report = Report(score_table([score(0.5, label="a | b\nc")]))
    assert len({line.count(" | ") for line in report.markdown().splitlines()}) == 1
    assert "a \\| b c" in report.markdown()
