"""Means of models on the same masks, how sure they are, and which differences are real."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

_VALUES_PER_BATCH = 4_000_000
_MAX_EXACT = 50


@dataclass(frozen=True, slots=True)
class Statistics:
    """What is known of M models on the same masks.

    Every interval comes from one bootstrap over units that resamples all models alike.

    Args:
        mean: ``(M,)`` weighted mean over masks.
        interval: ``(M, 2)`` of the mean; NaN where there is one unit only.
        best: position of the highest mean, the first of equals.
        difference: ``(M,)`` mean minus that of the best.
        difference_interval: ``(M, 2)``, of the difference.
        p: ``(M,)`` two-sided p of the Wilcoxon signed-rank test against the best, exact for up to
            50 pairs without ties; NaN for the best itself.
        p_holm: ``(M,)`` the same, corrected for the number of models that are tested.
        num_units: pairs in each test.
    """

    mean: np.ndarray
    interval: np.ndarray
    best: int
    difference: np.ndarray
    difference_interval: np.ndarray
    p: np.ndarray
    p_holm: np.ndarray
    num_units: int


def describe(
    scores: np.ndarray,
    units: np.ndarray,
    weights: np.ndarray,
    *,
    resamples: int,
    confidence: float,
    generator: np.random.Generator,
) -> Statistics:
    """Compare models on the same masks.

    Masks of one case are alike, so neither the bootstrap nor the test treats them as independent:
    both work on units, which are cases or images.

    Args:
        scores: ``(N, M)`` scores of N masks by M models, higher is better.
        units: ``(N,)`` int: the unit of each mask.
        weights: ``(N,)`` positive: how much each mask counts in a mean.
        resamples: of the bootstrap.
        confidence: level of the intervals, in (0, 1).
        generator: of the bootstrap.
    """
    _, codes = np.unique(units, return_inverse=True)
    counts = np.bincount(codes, weights)
    sums = np.stack([np.bincount(codes, weights * column) for column in scores.T])
    mean = weights @ scores / weights.sum()
    best = int(mean.argmax())
    bounds = _bootstrap(sums, counts, best, resamples, confidence, generator)
    unit_means = sums / counts
    p = np.array([_wilcoxon(unit_means[m], unit_means[best]) for m in range(len(sums))])
    p[best] = np.nan
    return Statistics(
        mean=mean,
        interval=bounds[: len(sums)],
        best=best,
        difference=mean - mean[best],
        difference_interval=bounds[len(sums) :],
        p=p,
        p_holm=holm(p),
        num_units=len(counts),
    )


def _bootstrap(
    sums: np.ndarray,
    counts: np.ndarray,
    best: int,
    resamples: int,
    confidence: float,
    generator: np.random.Generator,
) -> np.ndarray:
    """Return ``(2M, 2)`` percentile intervals: of each mean, then of each difference to the best.

    A resample draws units with all their masks; its mean is over masks, as the reported one is.
    ``counts`` are the summed weights of each unit.
    """
    if len(counts) < 2:
        return np.full((2 * len(sums), 2), np.nan)

    columns = np.column_stack([*sums, counts])
    num_units = len(counts)

    def means_and_differences(drawn: np.ndarray, axis: int) -> np.ndarray:
        # How often each unit was drawn, times what it has: far fewer reads than drawing the values.
        rows = drawn.reshape(-1, num_units)
        starts = num_units * np.arange(len(rows))[:, None]
        times = np.bincount((rows + starts).ravel(), minlength=rows.size).reshape(rows.shape)
        totals = (times @ columns).T
        means = totals[:-1] / totals[-1]
        return np.concatenate([means, means - means[best]]).reshape(-1, *drawn.shape[:-1])

    result = stats.bootstrap(
        (np.arange(num_units),),
        means_and_differences,
        n_resamples=resamples,
        batch=max(1, _VALUES_PER_BATCH // num_units),
        vectorized=True,
        confidence_level=confidence,
        method="percentile",
        rng=generator,
    )
    return np.stack(result.confidence_interval, axis=1)


def _wilcoxon(scores: np.ndarray, others: np.ndarray) -> float:
    """Return the two-sided p; units with equal scores are dropped, and if all are equal p is 1."""
    differences = np.round(scores - others, 12)  # means over runs differ by rounding errors
    differences = differences[differences != 0]
    if not differences.size:
        return 1.0
    has_ties = len(np.unique(np.abs(differences))) < len(differences)
    # SciPy's own choice permutes where there are ties among few, which takes a second per test.
    is_exact = len(differences) <= _MAX_EXACT and not has_ties
    method = "exact" if is_exact else "asymptotic"
    return float(stats.wilcoxon(differences, method=method).pvalue)


def holm(p: np.ndarray) -> np.ndarray:
    """Correct p values for their number by Holm's step-down method (1979); NaN stays NaN.

    Args:
        p: ``(M,)`` p values.
    """
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    corrected = np.full(p.shape, np.nan)
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return corrected
