"""Weighted orders give exact shares, use rows up before repeating them, and are pure."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncsam_lightning.data.order import EpochOrder, Stratum, epoch_order

SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=4)


def strata(sizes, shares):
    ends = np.cumsum(sizes)
    return [
        Stratum(np.arange(end - size, end), share)
        for size, end, share in zip(sizes, ends, shares, strict=True)
    ]


def test_rows_without_weights_are_a_permutation_that_changes_with_epoch_and_seed():
    order = EpochOrder.uniform(50)
    visits = order.epoch(0, 3)
    assert sorted(visits.rows.tolist()) == list(range(50))
    assert not visits.repeats.any()
    assert np.array_equal(visits.rows, epoch_order(50, seed=0, epoch=3))
    assert not np.array_equal(visits.rows, order.epoch(0, 4).rows)
    assert not np.array_equal(visits.rows, order.epoch(1, 3).rows)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), sizes=SIZES, num_samples=st.integers(1, 120), epoch=st.integers(0, 5))
def test_every_stratum_gets_its_share_to_one_sample(data, sizes, num_samples, epoch):
    shares = data.draw(
        st.lists(st.floats(0.1, 9), min_size=len(sizes), max_size=len(sizes)), label="shares"
    )
    groups = strata(sizes, shares)
    order = EpochOrder(groups, num_samples)
    visits = order.epoch(1, epoch)
    assert len(visits.rows) == len(visits.repeats) == num_samples
    for group in groups:
        count = np.isin(visits.rows, group.rows).sum()
        assert abs(count - num_samples * group.share / sum(shares)) < 1


@settings(deadline=None, max_examples=60)
@given(sizes=SIZES, num_samples=st.integers(1, 200))
def test_rows_are_used_up_before_they_repeat_over_all_epochs(sizes, num_samples):
    order = EpochOrder(strata(sizes, [1.0] * len(sizes)), num_samples)
    counts = Counter()
    for epoch in range(4):
        visits = order.epoch(2, epoch)
        counts.update(visits.rows.tolist())
        pairs = list(zip(visits.rows.tolist(), visits.repeats.tolist(), strict=True))
        assert len(set(pairs)) == len(pairs)
        for stratum in order.strata:
            seen = [counts[row] for row in stratum.rows.tolist()]
            assert max(seen) - min(seen) <= 1


def test_a_single_row_may_fill_an_epoch():
    visits = EpochOrder([Stratum(np.array([7]), 1.0)], 5000).epoch(0, 1)
    assert set(visits.rows.tolist()) == {7}
    assert sorted(visits.repeats.tolist()) == list(range(5000))


def test_groups_come_mixed_not_one_after_the_other():
    visits = EpochOrder(strata([50, 50], [1, 1]), 1000).epoch(0, 0)
    halves = (visits.rows[:500] < 50).sum(), (visits.rows[500:] < 50).sum()
    assert 200 < halves[0] < 300
    assert sum(halves) == 500


def test_a_share_of_zero_and_no_rows_at_all():
    order = EpochOrder(strata([3, 4], [0.0, 1.0]))
    assert set(order.epoch(0, 0).rows.tolist()) == {3, 4, 5, 6}
    with pytest.raises(ValueError, match="no rows to draw"):
        EpochOrder([Stratum(np.zeros(0, int), 1.0)])


def test_the_fingerprint_tells_orders_apart():
    groups = strata([3, 4], [1.0, 2.0])
    known = {
        EpochOrder(groups).fingerprint,
        EpochOrder(groups, 8).fingerprint,
        EpochOrder(strata([4, 3], [1.0, 2.0])).fingerprint,
        EpochOrder.uniform(7).fingerprint,
    }
    assert len(known) == 4
    assert EpochOrder(strata([3, 4], [2.0, 4.0])).fingerprint == EpochOrder(groups).fingerprint
