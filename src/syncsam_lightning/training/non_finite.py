"""Keeping what is not a number out of the weights."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from syncsam_lightning.errors import NonFiniteLossError

log = logging.getLogger(__name__)

_WINDOW = 1000


class NonFiniteGuard:
    """Skips optimiser steps whose gradients are NaN or infinite, and ends runs that have many.

    The gradients decide, not the loss: over several ranks they are sums over all, hence bad on all
    ranks or on none, so all skip the same steps. A loss that is not finite always has bad
    gradients. Skipping drops the gradients, so that neither weights nor the optimiser's state move,
    and puts back the buffers (BatchNorm's statistics), which the forward pass has changed already.

    Args:
        allowed: skipped steps among any 1000; one more ends the run.

    Raises:
        ValueError: ``allowed`` is negative.
    """

    def __init__(self, allowed: int) -> None:
        if allowed < 0:
            raise ValueError(f"max_skipped_steps must be 0 or more, got {allowed}")
        self._allowed = allowed
        self._skipped: deque[int] = deque()
        self._images: list[str] = []
        self._losses: list[Tensor] = []
        self._buffers: list[tuple[Tensor, Tensor]] = []

    def begin(self, network: nn.Module) -> None:
        """Keep the buffers as they are before a step; called before each forward pass.

        Args:
            network: whose buffers are kept. A step over several batches goes back to the first.
        """
        if not self._losses:
            self._buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]

    def add_loss(self, loss: Tensor, images: Iterable[str]) -> None:
        """Note a loss whose gradients go into the next step, and the ids of its images."""
        self._losses.append(loss.detach())
        self._images += images

    def check(self, parameters: Iterable[nn.Parameter], step: int) -> bool:
        """Drop the gradients unless all are finite; called right before the optimiser's step.

        Args:
            parameters: those of the optimiser.
            step: number of the step.

        Returns:
            whether the gradients are left.

        Raises:
            NonFiniteLossError: too many of the last steps were skipped.
        """
        trained = [parameter for parameter in parameters if parameter.grad is not None]
        images, losses = self._images, self._losses
        self._images, self._losses = [], []
        if _are_finite([p.grad for p in trained if p.grad is not None]):
            return True
        for parameter in trained:
            parameter.grad = None
        with torch.no_grad():
            for buffer, before in self._buffers:
                buffer.copy_(before)
        self._count(step, images, losses)
        return False

    def _count(self, step: int, images: list[str], losses: list[Tensor]) -> None:
        self._skipped.append(step)
        while self._skipped[0] <= step - _WINDOW:
            self._skipped.popleft()
        told = ", ".join(f"{loss.item():g}" for loss in losses)
        trouble = (
            f"step {step}: the gradients are not finite (loss {told}) on images {', '.join(images)}"
        )
        if len(self._skipped) > self._allowed:
            raise NonFiniteLossError(
                f"{trouble}; that is the {len(self._skipped)}. bad step of the last {_WINDOW:,}, "
                f"and max_skipped_steps allows {self._allowed}: look at these images, or lower the "
                "learning rate"
            )
        log.warning(
            "%s; the step is skipped, %d of %d allowed in %d steps",
            trouble,
            len(self._skipped),
            self._allowed,
            _WINDOW,
        )


def _are_finite(gradients: list[Tensor]) -> bool:
    if not gradients:
        return True
    # One number, and so one wait for the device, however many tensors there are.
    norms = torch._foreach_norm(gradients, float("inf"))
    return bool(torch.isfinite(torch.stack([norm.float() for norm in norms])).all())
