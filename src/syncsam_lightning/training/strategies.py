"""How ranks may share the work of a training."""

from __future__ import annotations

from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy, Strategy

from syncsam_lightning.errors import UnsupportedStrategyError


def check_strategy(strategy: Strategy | str) -> None:
    """Refuse strategies that split the weights over ranks.

    Args:
        strategy: of a Trainer, or the name by which a Trainer finds it.

    Raises:
        UnsupportedStrategyError: it is FSDP in one of its forms.
    """
    if isinstance(strategy, str):
        splits, name = strategy.startswith("fsdp"), strategy
    else:
        splits = isinstance(strategy, FSDPStrategy | ModelParallelStrategy)
        name = type(strategy).__name__
    if splits:
        raise UnsupportedStrategyError(
            f"trainer.strategy is {name}, which splits the weights over ranks; SyncSAM trains with "
            "whole ones: set it to ddp (docs/cluster.md says why); if memory is short, name parts "
            "of the network in model.network.recompute"
        )
