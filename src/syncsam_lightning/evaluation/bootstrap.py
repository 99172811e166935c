"""Confidence intervals of means whose values come in clusters."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

RESAMPLES = 1000
LEVEL = 0.95
_NUMBERS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval.

    Args:
        low, high: its ends; NaN where there are fewer than two clusters to draw from.
    """

    low: float
    high: float


def cluster_bootstrap(
    values: np.ndarray, clusters: np.ndarray, generator: np.random.Generator
) -> Interval:
    """Return the 95 % percentile interval of a mean, from 1,000 resamples of whole clusters.

    The masks of one patient are alike. Drawing masks would count them as so many independent
    observations and give an interval that is too narrow, so patients are drawn (Field and Welsh,
    "Bootstrapping clustered data", 2007).

    Args:
        values: ``(n,)`` float64.
        clusters: ``(n,)`` integers, the cluster of each value.
        generator: of the draws.
    """
    _, positions = np.unique(clusters, return_inverse=True)
    counts = np.bincount(positions)
    if len(counts) < 2:
        return Interval(math.nan, math.nan)
    result = stats.bootstrap(
        (np.bincount(positions, weights=values), counts),
        _ratio_of_sums,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, _NUMBERS_AT_ONCE // len(counts)),
        confidence_level=LEVEL,
        method="percentile",
        rng=generator,
    ).confidence_interval
    return Interval(float(result.low), float(result.high))


def _ratio_of_sums(sums: np.ndarray, counts: np.ndarray, axis: int) -> np.ndarray:
    ratio: np.ndarray = sums.sum(axis=axis) / counts.sum(axis=axis)
    return ratio
