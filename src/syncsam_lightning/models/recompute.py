"""Activation checkpointing: memory for time, with the same numbers.

What a part computes on the way is not kept for its backward pass but computed again then (Chen et
al., "Training Deep Nets with Sublinear Memory Cost", 2016).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint


def recomputed(module: nn.Module, *args: Any) -> Any:
    """Call a module; in its backward pass, call it again rather than keep what it computed.

    Without a graph it is a plain call. Running statistics of BatchNorm move once, not twice.

    Args:
        module: without dropout or other randomness.
        args: of the call.
    """
    if not torch.is_grad_enabled():
        return module(*args)
    norms = _moving_norms(module)
    # Not even a default is passed without need: torch.compile refuses any context.
    options: dict[str, Any] = {"context_fn": partial(_contexts, norms)} if norms else {}
    return checkpoint(module, *args, use_reentrant=False, preserve_rng_state=False, **options)


def _moving_norms(module: nn.Module) -> list[_NormBase]:
    return [
        norm
        for norm in module.modules()
        if isinstance(norm, _NormBase) and norm.training and norm.track_running_stats
    ]


def _contexts(
    norms: list[_NormBase],
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _statistics_at_rest(norms)


@contextmanager
def _statistics_at_rest(norms: list[_NormBase]) -> Iterator[None]:
    momenta = [norm.momentum for norm in norms]
    counts = [_count(norm).clone() for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, count in zip(norms, momenta, counts, strict=True):
            norm.momentum = momentum
            _count(norm).copy_(count)


def _count(norm: _NormBase) -> Tensor:
    return cast(Tensor, norm.num_batches_tracked)
