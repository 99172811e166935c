"""Models that were not prompted alike are told apart by their first box and click."""

from __future__ import annotations

import re

import pytest

from syncsam_lightning.errors import ComparisonError
from syncsam_lightning.evaluation.comparison.first_prompts import (
    compare_first_prompts,
    read_first_prompts,
)
from syncsam_lightning.evaluation.comparison.results import read_runs

BOX = {"box": [1.0, 2.0, 30.0, 40.0]}
CLICK = {"protocol": "1pt", "points": [[5.0, 6.0]], "point_labels": [1]}


@pytest.fixture
def compare(write_result):
    def run(*prompts):
        folders = [
            write_result(f"m{number}", [{"dice": 0.5}], rows) for number, rows in enumerate(prompts)
        ]
        return compare_first_prompts(read_runs([str(folder) for folder in folders]))

    return run


def test_equal_first_prompts_are_silent(compare):
    assert compare([BOX, CLICK], [CLICK, BOX]) == []


def test_rounding_errors_are_no_difference(compare):
    assert compare([BOX], [{"box": [1.001, 2.0, 30.0, 39.999]}]) == []


def test_a_different_box_is_named(compare):
    (warning,) = compare([BOX], [{"box": [1.0, 2.0, 30.0, 41.0]}])
    assert re.match(
        r"protocol box: 1 of 1 first prompts differ between .*m0 and .*m1, first for mask 0 of "
        r"image i: box 1.0, 2.0, 30.0, 40.0 against box 1.0, 2.0, 30.0, 41.0; measure the second "
        r"with --model.replay_prompts .*m0/prompts.parquet$",
        warning,
    )


def test_a_box_against_a_click_differs(compare):
    (warning,) = compare([BOX], [CLICK | {"protocol": "box"}])
    assert "against click 5.0, 6.0" in warning


def test_later_clicks_may_differ(compare):
    later = CLICK | {"round": 1, "point_labels": [1, 0]}
    mine = [CLICK, later | {"points": [[5.0, 6.0], [1.0, 1.0]]}]
    theirs = [CLICK, later | {"points": [[5.0, 6.0], [9.0, 9.0]]}]
    assert compare(mine, theirs) == []


def test_the_first_difference_is_counted_from_the_start(compare):
    def rows(x):
        return [{"mask_id": n, "box": [x if n else 0.0, 0.0, 9.0, 9.0]} for n in range(3)]

    (warning,) = compare(rows(1.0), rows(2.0))
    assert "2 of 3" in warning
    assert "first for mask 1" in warning


def test_a_protocol_that_the_first_model_lacks_is_compared_among_the_others(compare):
    moved = CLICK | {"points": [[7.0, 6.0]]}
    (warning,) = compare([BOX], [BOX, CLICK], [BOX, moved])
    assert warning.startswith("protocol 1pt: 1 of 1")
    assert "m1 and" in warning


def test_a_run_without_recorded_prompts_is_told(compare, write_result):
    (warning,) = compare([BOX], None)
    assert warning.startswith("no prompts.parquet in ")


def test_prompts_of_other_masks_say_nothing(compare):
    (warning,) = compare([BOX], [BOX | {"image_id": "other"}])
    assert "have no mask and seed in common" in warning


def test_a_damaged_file_is_named(write_result):
    folder = write_result("a", [{"dice": 0.5}])
    (folder / "prompts.parquet").write_bytes(b"nothing")
    with pytest.raises(ComparisonError, match=r"prompts\.parquet can't be read"):
        read_first_prompts(folder)


def test_nothing_recorded_is_none(write_result):
    assert read_first_prompts(write_result("a", [{"dice": 0.5}])) is None
