"""Result folders are named, read and refused."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from syncsam_lightning.errors import ComparisonError
from syncsam_lightning.evaluation.comparison.results import read_runs


def test_a_name_is_given_or_that_of_the_run(write_result, monkeypatch, tmp_path: Path):
    write_result("logs/resnet34/version_0/test", [{"dice": 0.5}])
    write_result("other/test", [{"dice": 0.5}])
    monkeypatch.chdir(tmp_path)
    runs = read_runs(["logs/resnet34/version_0/test", "my model=other"])
    assert [(run.model, run.folder) for run in runs] == [
        ("resnet34", Path("logs/resnet34/version_0/test")),
        ("my model", Path("other/test")),
    ]


def test_runs_that_were_not_named_alike_are_not_taken_together(
    write_result, monkeypatch, tmp_path: Path
):
    for run in ("logs/a/version_0", "logs/a/version_1", "logs/b/version_0"):
        write_result(f"{run}/test", [{"dice": 0.5}])
    monkeypatch.chdir(tmp_path)
    runs = read_runs(["logs/a/version_0", "logs/a/version_1", "b=logs/b/version_0/test"])
    assert [run.model for run in runs] == ["logs/a/version_0", "logs/a/version_1", "b"]


def test_the_same_text_twice_is_refused(write_result):
    folder = str(write_result("a/test", [{"dice": 0.5}]))
    with pytest.raises(ComparisonError, match="are the same folder"):
        read_runs([folder, folder])


def test_a_folder_whose_path_has_an_equals_sign_is_a_folder(write_result):
    folder = write_result("lr=0.1/test", [{"dice": 0.5}])
    assert read_runs([str(folder)])[0].model == "lr=0.1"


def test_a_file_without_seeds_has_seed_0(write_result):
    (run,) = read_runs([str(write_result("a", [{"dice": 0.5}]))])
    assert run.scores["seed"].to_pylist() == [0]


def test_details_of_the_run_are_read_where_they_are(write_result):
    folder = write_result("a", [{"dice": 0.5}])
    (folder / "run.json").write_text(json.dumps({"seed": 3}))
    assert read_runs([str(folder)])[0].details == {"seed": 3}


def test_rows_without_a_score_are_left_out_and_told(write_result):
    folder = write_result("a", [{"dice": 0.5}, {"dice": None}, {"dice": float("nan")}])
    (run,) = read_runs([str(folder)])
    assert run.scores["dice"].to_pylist() == [0.5]
    assert run.notes == (f"{folder}/scores.parquet: 2 rows without a DSC are left out",)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path):
    missing = tmp_path / "none"
    expected = f"{missing} does not exist: give the folder `test` that `syncsam test` wrote"
    with pytest.raises(ComparisonError, match=re.escape(expected)):
        read_runs([f"a={missing}"])


def test_a_folder_without_scores_is_named(tmp_path: Path):
    with pytest.raises(ComparisonError, match=r"holds no scores\.parquet"):
        read_runs([str(tmp_path)])


def test_a_damaged_file_is_named(tmp_path: Path):
    (tmp_path / "scores.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ComparisonError, match=r"scores\.parquet can't be read"):
        read_runs([str(tmp_path)])


def test_a_column_whose_name_is_no_text_is_told(tmp_path: Path):
    path = tmp_path / "scores.parquet"
    pq.write_table(pa.table({"label": ["x"]}), path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"label", b"l\xe9bel"))
    with pytest.raises(ComparisonError, match=r"scores\.parquet can't be read: 'utf-8' codec"):
        read_runs([str(tmp_path)])


def test_a_type_that_is_none_is_told(tmp_path: Path):
    path = tmp_path / "scores.parquet"
    pq.write_table(pa.table({"label": pa.array([1], pa.int64())}), path)
    # In the schema that Arrow keeps beside Parquet's own: an integer of other bits than 64.
    begin = path.read_bytes().index(b"ARROW:schema") + len(b"ARROW:schema") + 3
    found = re.compile(rb"[A-Za-z0-9+/]+={0,2}").search(path.read_bytes(), begin)
    schema = base64.b64decode(found[0])
    other = base64.b64encode(schema.replace(b"\x40\0\0\0", b"\x41\0\0\0"))
    path.write_bytes(path.read_bytes().replace(found[0], other))
    with pytest.raises(ComparisonError, match=r"scores\.parquet can't be read: Integers with more"):
        read_runs([str(tmp_path)])


def test_a_file_of_something_else_is_named(tmp_path: Path):
    pq.write_table(pa.table({"dice": [0.5]}), tmp_path / "scores.parquet")
    with pytest.raises(ComparisonError, match="has no column image_id, label, source"):
        read_runs([str(tmp_path)])


def test_a_file_with_texts_for_numbers_is_named(write_result):
    folder = write_result("a", [{"dice": "high"}])
    with pytest.raises(
        ComparisonError, match=r"scores\.parquet: column dice can't be used: .*high"
    ):
        read_runs([str(folder)])


def test_a_row_that_is_of_no_image_is_refused(write_result):
    folder = write_result("a", [{"dice": 0.5}, {"dice": 0.5, "image_id": None}])
    with pytest.raises(ComparisonError, match="column image_id has 1 rows without a value"):
        read_runs([str(folder)])


@pytest.mark.parametrize(("rows", "reason"), [([0.5, 1.5], r"\[0, 1\]"), ([None], "no row with")])
def test_scores_that_can_be_no_dsc_are_refused(write_result, rows, reason):
    folder = write_result("a", [{"dice": value} for value in rows])
    with pytest.raises(ComparisonError, match=reason):
        read_runs([str(folder)])


def test_a_folder_given_twice_is_refused(write_result):
    folder = write_result("a/test", [{"dice": 0.5}])
    with pytest.raises(ComparisonError, match="are the same folder"):
        read_runs([f"a={folder}", f"b={folder.parent}"])


@pytest.mark.parametrize("text", ["=x", "a="])
def test_half_a_name_is_refused(text: str):
    with pytest.raises(ComparisonError, match="neither FOLDER nor NAME=FOLDER"):
        read_runs([text])


def test_nothing_is_nothing_to_compare():
    with pytest.raises(ComparisonError, match="nothing to compare"):
        read_runs([])
