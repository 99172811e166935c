"""Decoding many objects a few at a time, for models of which each object needs much memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from syncsam_lightning.prompts import Prompts


def decode_in_parts(
    decode: Callable[[Prompts], Tensor], prompts: Prompts, *, at_once: int
) -> Tensor:
    """Decode N objects, without gradients at most ``at_once`` of them at a time.

    With gradients all go together: their activations are kept for the backward pass in any case.
    So they do in an exported program, whose number of objects stays open.

    Args:
        decode: returns ``(n, s, s)`` for prompts of n objects.
        prompts: of N objects.
        at_once: at least 1.

    Returns:
        ``(N, s, s)``.
    """
    together = torch.is_grad_enabled() or torch.compiler.is_exporting()
    if together or prompts.num_objects <= at_once:
        return decode(prompts)
    starts = range(0, prompts.num_objects, at_once)
    return torch.cat([decode(prompts[i : i + at_once]) for i in starts])
