"""Means, intervals and tests are those of hand calculation and of SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from syncsam_lightning.evaluation.comparison.statistics import Statistics, describe, holm

A = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 0.4, 0.3, 0.65])
B = A - np.array([0.1, 0.2, -0.05, 0.3, 0.15, 0.12, -0.02, 0.0])
C = A - 0.01 * np.arange(1, 9)


def run(scores: np.ndarray, units: np.ndarray | None = None, weights=None, **kwargs) -> Statistics:
    settings = {"resamples": 500, "confidence": 0.95} | kwargs
    units = np.arange(len(scores)) if units is None else units
    weights = np.ones(len(scores)) if weights is None else weights
    return describe(scores, units, weights, generator=np.random.default_rng(0), **settings)


def test_means_differences_and_the_best_are_those_by_hand():
    result = run(np.array([[0.2, 0.4], [0.4, 0.9], [0.6, 0.2]]))
    assert result.mean.tolist() == pytest.approx([0.4, 0.5])
    assert result.best == 1
    assert result.difference.tolist() == pytest.approx([-0.1, 0.0])
    assert result.num_units == 3


def test_p_is_that_of_scipy_and_the_best_is_not_tested_against_itself():
    result = run(np.stack([B, A, C], axis=1))
    expected = [stats.wilcoxon(B, A).pvalue, stats.wilcoxon(C, A).pvalue]
    assert result.p[[0, 2]].tolist() == pytest.approx(expected)
    assert np.isnan(result.p[1])
    assert np.isnan(result.p_holm[1])
    assert result.p_holm[2] == pytest.approx(2 * expected[1])


def test_equal_pairs_are_dropped_and_ties_give_the_asymptotic_p():
    other = A - np.array([0.1, 0.1, 0.1, 0.2, 0.2, -0.1, 0.0, 0.0])
    expected = stats.wilcoxon([0.1, 0.1, 0.1, 0.2, 0.2, -0.1], method="asymptotic").pvalue
    assert run(np.stack([A, other], axis=1)).p[1] == pytest.approx(expected)


def test_masks_of_a_case_are_one_pair():
    scores = np.stack([A, B], axis=1)
    units = np.array([7, 7, 7, 3, 3, 1, 0, 0])
    result = run(scores, units)
    means = [scores[units == unit].mean(axis=0) for unit in (7, 3, 1, 0)]
    assert result.num_units == 4
    assert result.p[1] == pytest.approx(stats.wilcoxon(*np.transpose(means)).pvalue)
    assert result.mean.tolist() == pytest.approx([A.mean(), B.mean()])


def test_weights_count_in_means_and_pairs():
    result = run(np.array([[0.2], [0.4], [1.0]]), np.array([0, 0, 1]), np.array([0.5, 0.5, 1.0]))
    assert result.mean[0] == pytest.approx(0.65)
    assert result.interval[0] == pytest.approx([0.3, 1.0])


def test_equal_models_do_not_differ():
    result = run(np.stack([A, A], axis=1))
    assert result.p_holm[1] == 1.0
    assert result.difference_interval[1].tolist() == [0.0, 0.0]


def test_the_interval_is_that_of_resampled_cases():
    rng = np.random.default_rng(3)
    units = rng.integers(0, 12, 60)
    scores = (0.5 + 0.3 * rng.standard_normal(12)[units] + 0.01 * rng.standard_normal(60))[:, None]
    result = run(scores, units, resamples=4000)
    members = [np.flatnonzero(units == unit) for unit in np.unique(units)]
    drawn = [
        scores[np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])]
        for _ in range(4000)
    ]
    expected = np.percentile([values.mean() for values in drawn], [2.5, 97.5])
    assert result.interval[0] == pytest.approx(expected, abs=0.02)
    naive = 1.96 * scores.std() / np.sqrt(len(scores))  # as if masks were independent
    assert np.diff(result.interval[0])[0] > 1.5 * 2 * naive


def test_models_are_resampled_alike():
    noise = np.random.default_rng(0).random(40)
    result = run(np.stack([noise, noise - 0.1], axis=1))
    assert np.diff(result.interval[1])[0] > 0.1
    assert result.difference_interval[1] == pytest.approx([-0.1, -0.1])


def test_the_same_generator_gives_the_same_interval():
    scores = np.stack([A, B], axis=1)
    assert (run(scores).interval == run(scores).interval).all()


def test_one_case_has_no_interval():
    result = run(np.array([[0.2], [0.4]]), np.zeros(2, int))
    assert result.mean[0] == pytest.approx(0.3)
    assert np.isnan(result.interval).all()


def test_holm_is_the_textbook_example():
    p = np.array([0.01, np.nan, 0.04, 0.03, 0.005])
    assert holm(p) == pytest.approx([0.03, np.nan, 0.06, 0.06, 0.02], nan_ok=True)


def test_holm_never_exceeds_1():
    assert holm(np.array([0.9, 0.8])).tolist() == [1.0, 1.0]
