"""Averaging gradients over ranks where several backward passes follow one forward pass."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn

from syncsam_lightning.errors import UnsupportedStrategyError


def backward_over_ranks(module: LightningModule, loss: Tensor) -> None:
    """Compute the gradients of a loss, averaged over all ranks.

    For optimisation by hand. DistributedDataParallel awaits a gradient of every trained parameter
    in each backward pass; the later rounds of a ``per_round`` episode have none for the encoder,
    and zeros in their place would let Adam move it. So it is kept out, and what gradients there
    are get averaged here: they belong to the same parameters on all ranks, which play alike.

    Args:
        module: that is trained.
        loss: of this rank; a scalar.

    Raises:
        UnsupportedStrategyError: the ranks share their work in another way than DDP.
    """
    strategy = module.trainer.strategy
    if module.trainer.world_size == 1:
        module.manual_backward(loss)
        return
    if not isinstance(strategy, DDPStrategy):
        raise UnsupportedStrategyError(
            f"model.episode.schedule is per_round, which trains on several ranks under ddp, not "
            f"under {type(strategy).__name__}: set trainer.strategy to ddp, or the schedule to "
            "joint"
        )
    with strategy.block_backward_sync():
        module.manual_backward(loss)
    average_gradients(module.parameters())


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace gradients by their mean over all ranks.

    Args:
        parameters: in the same order on all ranks, and with gradients for the same ones.
    """
    by_dtype: dict[torch.dtype, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            by_dtype.setdefault(parameter.grad.dtype, []).append(parameter.grad)
    for gradients in by_dtype.values():
        # One message, whose start costs more than its length.
        joined = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(joined)
        joined /= dist.get_world_size()
        parts = torch.split(joined, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
