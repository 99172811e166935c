"""Scores as columns, and the trivial baseline."""

import pyarrow as pa
import pytest

from syncsam_lightning.evaluation.scores import SCORE_SCHEMA, fill_box_dice, score_table


@pytest.mark.parametrize(
    ("area", "box", "expected"), [(16, 16, 1.0), (8, 16, 2 / 3), (1, 100, 2 / 101), (0, 0, 1.0)]
)
def test_filling_the_box_scores_2a_by_a_plus_box(area, box, expected):
    assert fill_box_dice(area, box) == pytest.approx(expected)


def test_scores_are_columns_of_one_schema_even_when_there_are_none(score):
    table = score_table([score(0.5), score(0.25, hd95=3.0)])
    assert table.schema == score_table([]).schema == SCORE_SCHEMA
    assert table["dice"].to_pylist() == [0.5, 0.25]
    assert table["hd95"].to_pylist() == [None, 3.0]
    assert table.schema.field("seed").type == pa.int64()
