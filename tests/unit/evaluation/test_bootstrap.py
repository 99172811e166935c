"""Intervals of means hold the truth as often as they say, and not where masks are drawn."""

import math

import numpy as np
import pytest

from syncsam_lightning.evaluation.bootstrap import cluster_bootstrap


def test_the_interval_of_independent_values_is_about_two_standard_errors():
    values = np.random.default_rng(0).normal(0.7, 0.1, 400)
    interval = cluster_bootstrap(values, np.arange(400), np.random.default_rng(1))
    error = values.std() / 20
    assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)


def test_values_that_stick_together_leave_the_interval_as_wide_as_their_clusters():
    means = np.random.default_rng(0).normal(0.7, 0.1, 40)
    alone = cluster_bootstrap(means, np.arange(40), np.random.default_rng(1))
    repeated = cluster_bootstrap(
        np.repeat(means, 25), np.repeat(np.arange(40), 25), np.random.default_rng(1)
    )
    assert repeated.low == pytest.approx(alone.low)
    assert repeated.high == pytest.approx(alone.high)


def test_95_of_100_intervals_hold_the_true_mean():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        clusters = np.repeat(np.arange(30), rng.integers(1, 9, 30))
        values = rng.normal(0, 1, 30)[clusters] + rng.normal(0, 0.2, len(clusters))
        interval = cluster_bootstrap(values, clusters, rng)
        held += interval.low <= 0 <= interval.high
    assert 0.88 <= held / 200 <= 0.98


def test_a_single_cluster_has_no_interval():
    interval = cluster_bootstrap(np.ones(5), np.zeros(5, int), np.random.default_rng(0))
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
