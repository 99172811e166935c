"""Means, deviations and intervals, worked out by hand."""

import math
import statistics

import pytest

from syncsam_lightning.errors import EvaluationError
from syncsam_lightning.evaluation.scores import score_table
from syncsam_lightning.evaluation.summary import summarise


@pytest.fixture
def row_of(score):
    """The row of a group, by name, of scores given as (dice, index, mask id, label, ...)."""

    def find(scores, *, metric="dice", group="all", name="", protocol="box"):
        rows = summarise(score_table(scores))
        (found,) = [
            r
            for r in rows
            if (r.metric, r.group, r.name, r.protocol) == (metric, group, name, protocol)
        ]
        return found

    return find


@pytest.fixture
def uneven(score):
    """Three masks of two classes on one image, one on another, each image a case."""

    def build(**kwargs):
        return [
            score(0.2, index=0, mask_id=0, label="cell", case="a", **kwargs),
            score(0.4, index=0, mask_id=1, label="cell", case="a", **kwargs),
            score(0.9, index=0, mask_id=2, label="liver", case="a", **kwargs),
            score(0.1, index=1, mask_id=0, label="cell", case="b", **kwargs),
        ]

    return build


def test_means_over_masks_images_and_classes_differ_where_they_should(row_of, uneven):
    row = row_of(uneven())
    assert (row.masks, row.images, row.cases) == (4, 2, 2)
    assert row.mean == row.mean_over_masks == pytest.approx(1.6 / 4)
    assert row.mean_over_images == pytest.approx((0.5 + 0.1) / 2)
    assert row.mean_over_classes == pytest.approx((0.7 / 3 + 0.9) / 2)
    assert row.std == pytest.approx(statistics.pstdev([0.2, 0.4, 0.9, 0.1]))


def test_a_protocol_that_averages_over_images_reports_that(row_of, uneven):
    row = row_of(uneven(protocol="imis-box"), protocol="imis-box")
    assert row.averaging == "images"
    assert row.mean == row.mean_over_images == pytest.approx(0.3)
    assert row.std == pytest.approx(0.2)
    assert row.mean_over_masks == pytest.approx(0.4)


def test_groups_hold_their_own_masks(row_of, uneven):
    row = row_of(uneven(), group="class", name="cell")
    assert (row.masks, row.images, row.cases) == (3, 2, 2)
    assert row.mean == pytest.approx(0.7 / 3)
    assert row_of(uneven(), group="class", name="liver").mean == 0.9


def test_the_interval_is_that_of_cases_not_of_masks(row_of, score):
    # 50 masks each of two cases that differ: only three different resamples of two cases exist.
    scores = [
        score(value, index=case * 50 + i, case=str(case), mask_id=0)
        for case, value in enumerate((0.2, 0.8))
        for i in range(50)
    ]
    row = row_of(scores)
    assert row.mean == pytest.approx(0.5)
    assert (row.ci_low, row.ci_high) == (pytest.approx(0.2), pytest.approx(0.8))


def test_images_without_a_case_are_cases_of_their_own(row_of, score):
    scores = [score(0.1 * i, index=i, case="") for i in range(5)]
    assert row_of(scores).cases == 5


def test_cases_of_one_name_in_two_data_sets_are_two(row_of, score):
    scores = [score(0.5, index=i, source=source, case="1") for i, source in enumerate("AB")]
    assert row_of(scores).cases == 2


def test_a_single_case_has_no_interval(row_of, score):
    row = row_of([score(0.5), score(0.7, mask_id=1)])
    assert math.isnan(row.ci_low)
    assert math.isnan(row.ci_high)


def test_intervals_repeat_and_do_not_depend_on_the_order_of_scores(uneven):
    def intervals(scores):
        return [(r.ci_low, r.ci_high) for r in summarise(score_table(scores)) if r.group == "all"]

    assert intervals(uneven()) == intervals(uneven()[::-1])
    scores = uneven()
    assert summarise(score_table(scores), bootstrap_seed=1) != summarise(score_table(scores))


def test_a_mask_counts_once_with_its_mean_over_the_seeds(row_of, score):
    values = {(0, 0): 0.2, (0, 1): 0.4, (1, 0): 0.6, (1, 1): 1.0, (2, 0): 0.1, (2, 1): 0.1}
    scores = [
        score(value, index=index, seed=seed, protocol="1pt")
        for (index, seed), value in values.items()
    ]
    row = row_of(scores, protocol="1pt")
    assert (row.masks, row.seeds) == (3, 2)
    assert row.mean == pytest.approx((0.3 + 0.8 + 0.1) / 3)
    assert row.std == pytest.approx(statistics.pstdev([0.3, 0.8, 0.1]))
    assert row.std_over_seeds == pytest.approx(statistics.stdev([0.9 / 3, 1.5 / 3]))


def test_one_seed_has_no_deviation_over_seeds(row_of, uneven):
    assert math.isnan(row_of(uneven()).std_over_seeds)


def test_masks_without_the_score_of_a_seed_are_an_error(score):
    scores = [score(0.5, seed=0), score(0.5, seed=1), score(0.5, seed=0, index=1)]
    with pytest.raises(EvaluationError, match="each of the 2 seeds of protocol box"):
        summarise(score_table(scores))


def test_surface_metrics_have_rows_only_where_they_were_measured(score):
    without = {row.metric for row in summarise(score_table([score(0.5)]))}
    both = {row.metric for row in summarise(score_table([score(0.5, hd95=3.0, nsd=0.9)]))}
    assert without == {"dice", "iou", "fill_box_dice"}
    assert both == without | {"hd95", "nsd"}
