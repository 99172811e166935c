"""Weights that are not numbers give empty masks without a word, so they are refused."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from syncsam_lightning.errors import WeightsError


def check_finite(tensors: Mapping[str, Tensor], origin: str) -> None:
    """Raise if a tensor holds NaN or an infinity.

    Args:
        tensors: by name, of any type and on any device; those without data (``meta``) are passed
            over.
        origin: what to call the file in an error.

    Raises:
        WeightsError: one does; the message names the first and says how many of its values do.
    """
    for name, tensor in tensors.items():
        if tensor.is_meta or not tensor.is_floating_point():
            continue
        # A sum is not finite if one value isn't, and is much faster than asking each value. It may
        # also be too large itself: only then each is asked.
        if tensor.sum(dtype=torch.float32).isfinite():
            continue
        if count := int((~tensor.isfinite()).sum()):
            raise WeightsError(
                f"{origin}: tensor {name} holds values that are not finite ({count} of "
                f"{tensor.numel()}): its training diverged or the file is damaged; take an earlier "
                "checkpoint, or fetch it again"
            )
