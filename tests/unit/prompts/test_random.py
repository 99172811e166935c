from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from syncsam_lightning.prompts.random import integers, mix64, random_bits, uniform

KEYS = torch.arange(4000) * 7919 + 13
INT64 = st.integers(0, 2**63 - 1)


def as_int64(values: list[int]) -> torch.Tensor:
    return torch.tensor([v - 2**64 if v >= 2**63 else v for v in values], dtype=torch.int64)


def reference_mix(x: int) -> int:
    wrap = 2**64 - 1
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & wrap
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & wrap
    return x ^ (x >> 31)


def test_the_published_first_numbers_of_splitmix64_are_reproduced():
    gamma = 0x9E3779B97F4A7C15
    states = as_int64([gamma * i % 2**64 for i in (1, 2, 3)])
    known = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert mix64(states).equal(as_int64(known))


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=9))
def test_mixing_equals_unsigned_arithmetic(values):
    assert mix64(as_int64(values)).equal(as_int64([reference_mix(v) for v in values]))


def test_uniform_numbers_lie_in_their_range_and_fill_it():
    u = uniform(KEYS, 1, num=5)
    assert u.shape == (4000, 5)
    assert u.dtype == torch.float32
    assert u.min() >= 0
    assert u.max() < 1
    # 20,000 numbers: the mean's standard error is 0.002, the chi-square's (15 bins) is 5.5.
    assert abs(u.mean().item() - 0.5) < 0.01
    counts = torch.histc(u, bins=16, min=0, max=1)
    chi_square = ((counts - 1250) ** 2 / 1250).sum().item()
    assert chi_square < 45


def test_every_bit_is_fair():
    bits = random_bits(KEYS, 3, 1)[:, 0]
    for position in range(64):
        share = ((bits >> position) & 1).double().mean().item()
        assert abs(share - 0.5) < 0.04, f"bit {position}"


@pytest.mark.parametrize(
    "other",
    [uniform(KEYS, 2), uniform(KEYS, 1, 0), uniform(KEYS), uniform(KEYS + 1, 1)],
    ids=["other counter", "more counters", "no counter", "next key"],
)
def test_streams_are_independent(other):
    u = uniform(KEYS, 1)
    correlation = torch.corrcoef(torch.stack([u[:, 0], other[:, 0]]))[0, 1].item()
    assert abs(correlation) < 0.06
    assert (u == other).float().mean() < 0.01


def test_numbers_of_one_key_are_independent():
    u = uniform(KEYS, 1, num=4)
    correlations = torch.corrcoef(u.T) - torch.eye(4)
    assert correlations.abs().max() < 0.06


def test_the_order_of_counters_matters():
    assert not uniform(KEYS, 1, 2).equal(uniform(KEYS, 2, 1))


def test_asking_for_more_numbers_begins_with_the_same():
    assert uniform(KEYS, 1, num=9)[:, :3].equal(uniform(KEYS, 1, num=3))


@settings(deadline=None, max_examples=50)
@given(st.lists(INT64, min_size=1, max_size=6), st.integers(0, 2**31), st.data())
def test_a_batch_equals_one_by_one(keys, counter, data):
    keys = torch.tensor(keys)
    high = torch.tensor(data.draw(st.lists(st.integers(0, 2**31 - 1), min_size=6, max_size=6)))
    high = high[: len(keys)]
    batch = integers(keys, 1, counter, high=high, num=3)
    alone = [
        integers(keys[i : i + 1], 1, counter, high=high[i : i + 1], num=3) for i in range(len(keys))
    ]
    assert batch.equal(torch.cat(alone))
    assert (batch >= 0).all()
    assert ((batch < high[:, None]) | (high[:, None] == 0)).all()


def test_integers_are_uniform():
    drawn = integers(KEYS, 1, high=torch.full_like(KEYS, 7), num=7)
    counts = drawn.flatten().bincount(minlength=7)
    assert len(counts) == 7
    assert ((counts - 4000) ** 2 / 4000).sum() < 30


def test_integers_below_nothing_are_zero():
    assert integers(KEYS[:2], 1, high=torch.tensor([0, 1]), num=3).equal(torch.zeros(2, 3).long())


def test_the_global_generator_is_neither_read_nor_moved():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = uniform(KEYS, 1)
    assert torch.get_rng_state().equal(before)
    torch.manual_seed(1)
    assert uniform(KEYS, 1).equal(first)


def test_no_key_gives_no_number():
    assert uniform(torch.zeros(0, dtype=torch.int64), num=3).shape == (0, 3)


@pytest.mark.parametrize("keys", [torch.zeros(3), torch.zeros(3, 1, dtype=torch.int64)])
def test_keys_of_a_wrong_kind_are_refused(keys):
    with pytest.raises(ValueError, match=r"keys must be \(N,\) int64, got"):
        uniform(keys)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_draws_what_a_cpu_draws():
    assert uniform(KEYS.cuda(), 1, num=3).cpu().equal(uniform(KEYS, 1, num=3))
