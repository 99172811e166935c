"""Tables hold the means that hand calculation gives."""

import csv
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from syncsam_lightning.evaluation.report import Report
from syncsam_lightning.evaluation.scores import SCORE_FIELDS, MaskScore, fill_box_dice


def score(dice, *, protocol="box", source="A", modality="ct", label="liver", **kwargs):
    values = {
        "index": 0,
        "image_id": "i",
        "mask_id": 0,
        "case": "c",
        "version": 1,
        "area": 10,
        "iou": dice / (2 - dice),
        "fill_box_dice": 0.5,
    }
    return MaskScore(
        dice=dice, protocol=protocol, source=source, modality=modality, label=label,
        **(values | kwargs),
    )  # fmt: skip


@pytest.fixture
def report():
    return Report(
        [
            score(0.2),
            score(0.4, source="B", modality="mr"),
            score(0.9, label="spleen", fill_box_dice=0.8),
            score(0.1, protocol="1pt"),
        ]
    )


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
    assert [cell.strip() for cell in lines[0].strip("|").split("|")] == [
        "group",
        "name",
        "masks",
        "fill box",
        "box",
        "1pt",
    ]


def test_files_hold_every_score(report, tmp_path):
    report.write(tmp_path / "new" / "test")
    folder = tmp_path / "new" / "test"
    assert sorted(p.name for p in folder.iterdir()) == ["report.md", "scores.csv", "scores.parquet"]
    rows = pq.read_table(folder / "scores.parquet").to_pylist()
    assert [row["dice"] for row in rows] == [0.2, 0.4, 0.9, 0.1]
    assert tuple(rows[0]) == SCORE_FIELDS
    with (folder / "scores.csv").open() as file:
        assert [float(row["dice"]) for row in csv.DictReader(file)] == [0.2, 0.4, 0.9, 0.1]
    assert report.markdown() in (folder / "report.md").read_text(encoding="utf-8")


def test_a_report_of_nothing_is_a_table_without_means():
    assert Report([]).rows() == [("all", "", "0", "-")]


@pytest.mark.parametrize(
    ("area", "box", "expected"), [(16, 16, 1.0), (8, 16, 2 / 3), (1, 100, 2 / 101)]
)
def test_filling_the_box_scores_2a_by_a_plus_box(area, box, expected):
    assert fill_box_dice(area, box) == pytest.approx(expected)


def test_a_name_stays_in_its_cell(report):
    odd = Report([replace(score, label="a|b\n\n c") for score in report.scores])
    (line,) = (line for line in odd.markdown().splitlines() if "class" in line)
    assert "| a\\|b c " in line
