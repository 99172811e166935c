"""Which seeds follow `--seed_everything`."""

from __future__ import annotations

import pytest

from syncsam_lightning.cli.given import GivenSettings
from syncsam_lightning.cli.seeds import with_seeds


class Base:
    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed


class PassesOn(Base):
    def __init__(self, table: str, **kwargs: int) -> None:
        super().__init__(**kwargs)


class Inherits(PassesOn):
    pass


class HasNone(Base):
    def __init__(self, table: str) -> None:
        super().__init__()


KNOWN = {cls.__name__: cls for cls in (Base, PassesOn, Inherits, HasNone)}


def added(*args: str) -> list[str]:
    given = ["fit", *args]
    return with_seeds(given, GivenSettings(given), KNOWN)[len(given) :]


@pytest.mark.parametrize("name", ["Base", "PassesOn", "Inherits", f"{__name__}.Base"])
def test_data_that_take_a_seed_get_it(name: str):
    assert added(f"--data={name}", "--seed_everything=3") == ["--model.seed=3", "--data.seed=3"]


@pytest.mark.parametrize(
    "args", [[], ["--data=HasNone"], ["--data=NoSuch"], ["--data=no.such.One"]]
)
def test_data_that_take_none_or_are_unknown_get_none(args: list[str]):
    assert added(*args) == ["--model.seed=42"]


@pytest.mark.parametrize("value", ["true", "false"])
def test_any_seed_and_none_leave_the_seeds_of_the_classes(value: str):
    assert added("--data=Base", f"--seed_everything={value}") == []


def test_what_is_given_stays():
    assert added("--data=Base", "--data.seed=1", "--model.seed", "2") == []


@pytest.mark.parametrize(
    "args", [["--model", "m.yaml"], ["--model={seed: 7}"], ["--config", "{model: m.yaml}"]]
)
def test_a_model_that_is_given_whole_keeps_its_seed(args: list[str]):
    assert added("--data=Base", *args) == ["--data.seed=42"]
