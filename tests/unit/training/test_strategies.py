"""Strategies that can't train are refused before they do harm."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch.strategies import (
    DDPStrategy,
    FSDPStrategy,
    ModelParallelStrategy,
    SingleDeviceStrategy,
)

from syncsam_lightning.errors import UnsupportedStrategyError
from syncsam_lightning.training.strategies import check_strategy

PROMISE = pytest.mark.promise("Ranks: a strategy that splits weights over ranks is refused")


@PROMISE
@pytest.mark.parametrize(
    ("strategy", "name"),
    [
        ("fsdp", "fsdp"),
        ("fsdp_cpu_offload", "fsdp_cpu_offload"),
        (FSDPStrategy(), "FSDPStrategy"),
        (ModelParallelStrategy(), "ModelParallelStrategy"),
    ],
    ids=["name", "variant", "FSDP", "FSDP2"],
)
def test_strategies_that_split_weights_are_refused(strategy: Any, name: str):
    with pytest.raises(UnsupportedStrategyError) as refusal:
        check_strategy(strategy)
    told = str(refusal.value)
    assert told.startswith(f"trainer.strategy is {name}, which splits the weights over ranks")
    assert "set it to ddp" in told


@pytest.mark.parametrize("strategy", ["auto", "ddp", DDPStrategy(), SingleDeviceStrategy("cpu")])
def test_others_are_not(strategy: Any):
    check_strategy(strategy)


@PROMISE
def test_a_fit_asks_before_it_begins(task: Any):
    module = task()
    module._trainer = SimpleNamespace(strategy=FSDPStrategy())
    with pytest.raises(UnsupportedStrategyError, match="set it to ddp"):
        module.setup("fit")
