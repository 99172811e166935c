"""Order and sharding are exact on any number of ranks."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncsam_lightning.data.resume import Position, ResumeError
from syncsam_lightning.data.sampler import BatchGeometry, GlobalOrderSampler, PaddedOnceSampler

WORLD = st.integers(1, 4)


def epoch_rows(num_rows, batch_size, world, *, seed=0, epoch=0, start=0):
    geometry = BatchGeometry(num_rows, batch_size, world)
    ranks = [
        GlobalOrderSampler(geometry, rank=rank, seed=seed, epoch=epoch, start=start)
        for rank in range(world)
    ]
    return [[key.row for key in rank] for rank in ranks]


@settings(deadline=None, max_examples=60)
@given(num_rows=st.integers(1, 60), batch_size=st.integers(1, 5), world=WORLD)
def test_every_row_comes_once_but_for_a_tail_smaller_than_the_world(num_rows, batch_size, world):
    rows = [row for rank in epoch_rows(num_rows, batch_size, world) for row in rank]
    assert len(set(rows)) == len(rows)
    assert num_rows - len(rows) < world


@pytest.mark.promise(
    "Resume: the number of ranks may change in between; the rows of an epoch still come once"
)
@settings(deadline=None, max_examples=60)
@given(data=st.data(), num_rows=st.integers(8, 60), first=WORLD, second=WORLD)
def test_a_run_resumed_on_another_world_size_sees_what_was_left(data, num_rows, first, second):
    geometry = BatchGeometry(num_rows, 2, first)
    steps = data.draw(st.integers(0, len(geometry.batches()) - 1))
    begun = Position(0, 3, 0, num_rows).advanced(steps, geometry)
    before = {row for rank in epoch_rows(num_rows, 2, first, epoch=3) for row in rank[: steps * 2]}
    after = [
        row for r in epoch_rows(num_rows, 2, second, epoch=3, start=begun.samples) for row in r
    ]
    assert before.isdisjoint(after)
    assert len(before) + len(after) > num_rows - max(first, second)


def test_epochs_and_seeds_have_other_orders_and_repeat():
    (first,) = epoch_rows(50, 4, 1)
    assert first == epoch_rows(50, 4, 1)[0]
    assert first != epoch_rows(50, 4, 1, epoch=1)[0]
    assert first != epoch_rows(50, 4, 1, seed=1)[0]


def test_global_batches_are_the_same_for_one_and_two_ranks():
    (one,) = epoch_rows(16, 4, 1)
    left, right = epoch_rows(16, 2, 2)
    for step in range(4):
        together = left[2 * step : 2 * step + 2] + right[2 * step : 2 * step + 2]
        assert together == one[4 * step : 4 * step + 4]


@pytest.mark.parametrize("num_rows", [1, 3, 97])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_evaluation_visits_every_row_once_with_equally_many_steps(num_rows, world):
    ranks = [list(PaddedOnceSampler(num_rows, rank=r, world_size=world)) for r in range(world)]
    assert len({len(rank) for rank in ranks}) == 1
    assert sorted(key.row for rank in ranks for key in rank if key.valid) == list(range(num_rows))


def test_nothing_left_is_the_next_epoch_and_other_rows_are_refused():
    geometry = BatchGeometry(10, 4, 1)
    assert Position(0, 2, 10, 10).normalised(geometry) == Position(0, 3, 0, 10)
    assert Position(0, 2, 4, 10).normalised(geometry).samples == 4
    with pytest.raises(ResumeError, match="has 10 samples, the checkpoint's had 11"):
        Position(0, 2, 4, 11).normalised(geometry)
