"""Keeping what is not a number out of the weights."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

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
        self._skipped: dict[int, list[str]] = {}
        self._images: list[str] = []
        self._losses: list[Tensor] = []
        self._buffers: list[tuple[Tensor, Tensor]] = []

    def state_dict(self) -> dict[str, Any]:
        """Return the skipped steps that still count, each with the ids of its images.

        Over several ranks the images are this one's only; the steps are those of all.
        """
        return {"skipped": [[step, list(images)] for step, images in self._skipped.items()]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Count on from what :meth:`state_dict` returned; {} begins anew."""
        self._skipped = {int(step): list(images) for step, images in state.get("skipped", ())}

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

    def _count(self, step: int, images: Sequence[str], losses: Sequence[Tensor]) -> None:
        in_window = {s: ids for s, ids in self._skipped.items() if s > step - _WINDOW}
        met_before = set(images) & set().union(*in_window.values())
        self._skipped = {**in_window, step: list(images)}
        told = ", ".join(f"{loss.item():g}" for loss in losses)
        trouble = (
            f"step {step}: the gradients are not finite (loss {told}) on images {', '.join(images)}"
        )
        if len(self._skipped) > self._allowed:
            if met_before:
                trouble += f", of which {', '.join(sorted(met_before))} not for the first time"
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
