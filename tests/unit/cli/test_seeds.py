"""Which seeds follow `--seed_everything`."""

from __future__ import annotations

import pytest

from syncsam_lightning.cli.given import GivenSettings
from syncsam_lightning.cli.seeds import with_seeds


def added(*args: str) -> list[str]:
    given = ["fit", *args]
    return with_seeds(given, GivenSettings(given))[len(given) :]


@pytest.mark.parametrize(("args", "seed"), [([], 42), (["--seed_everything=3"], 3)])
def test_the_seed_of_the_model_follows(args: list[str], seed: int):
    assert added("--data=MNI152", *args) == [f"--model.seed={seed}"]


@pytest.mark.parametrize("value", ["true", "false"])
def test_any_seed_and_none_leave_the_seed_of_the_class(value: str):
    assert added(f"--seed_everything={value}") == []


@pytest.mark.parametrize("args", [["--model.seed", "2"], ["--config", "{model: {seed: 0}}"]])
def test_what_is_given_stays(args: list[str]):
    assert added(*args) == []
