"""Each reader gives a result or refuses in our own words, whatever bytes it meets: short form.

The long form is `make test-faults`.
"""

import random
import signal
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutation import mutated
from tests.fuzz.seeds import every_seed
from tests.fuzz.targets import TARGETS

SECONDS = 30
"""For one input: a reader that takes longer hangs. They take milliseconds on a free machine."""


@contextmanager
def time_limit():
    def late(number, frame):
        raise AssertionError(f"the reader is not done after {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.promise(
    "Input: every reader gives a result or refuses in our own words, whatever bytes it meets"
)
@pytest.mark.parametrize("name", TARGETS)
def test_whole_cut_off_and_hostile_files(name):
    for data in every_seed(TARGETS[name].seeds):
        with time_limit():
            TARGETS[name].run(data)


@pytest.mark.promise(
    "Input: every reader gives a result or refuses in our own words, whatever bytes it meets"
)
@pytest.mark.parametrize("name", TARGETS)
def test_files_that_were_changed(name):
    target = TARGETS[name]
    whole = target.seeds()

    @settings(
        max_examples=60, derandomize=True, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.sampled_from(whole), st.integers(0, 2**32))
    def check(seed, number):
        with time_limit():
            target.run(mutated(seed, whole, random.Random(number)))

    check()


@pytest.mark.promise(
    "Input: every reader gives a result or refuses in our own words, whatever bytes it meets"
)
@pytest.mark.parametrize("name", TARGETS)
def test_bytes_that_are_no_file(name):
    @settings(max_examples=20, derandomize=True, deadline=None, database=None)
    @given(st.binary(max_size=200))
    def check(data):
        with time_limit():
            TARGETS[name].run(data)

    check()
