"""A model that a file asks for is no larger than what the file holds weights for.

Settings are a few bytes and may ask for any size: `vit_width` of a thousand million. What a file's
own weights imply bounds it, and is checked before room is made.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)

# What a model has beside the weights in its file: buffers that are not kept.
_SPARE_TENSORS, _SPARE_NUMBERS = 1_000, 10_000_000
# SAM's largest, a ViT-H with its decoder, has 641 million numbers in 594 tensors.
_SAM_TENSORS, _SAM_NUMBERS = 1_000, 700_000_000


class _TooLargeError(Exception):
    """More was asked for than is allowed."""


@dataclass(frozen=True, slots=True)
class SizeLimit:
    """How large a model may be.

    Args:
        tensors: parameters and buffers.
        numbers: in all of them together.
    """

    tensors: int
    numbers: int

    @classmethod
    def of(cls, weights: Mapping[str, Any], *, without_frozen: bool = False) -> SizeLimit:
        """Return the limit that a file's weights imply.

        Args:
            weights: that the file holds, by name.
            without_frozen: they lack what training left frozen, SAM's weights.
        """
        # Shapes may lie, as those of an expanded tensor do; bytes are there.
        storages = {
            storage.data_ptr(): storage.nbytes()
            for value in weights.values()
            if isinstance(value, Tensor)
            for storage in [value.untyped_storage()]
        }
        return cls(
            len(weights) + _SPARE_TENSORS + without_frozen * _SAM_TENSORS,
            sum(storages.values()) + _SPARE_NUMBERS + without_frozen * _SAM_NUMBERS,
        )

    def exceeded_by(self, build: Callable[[], nn.Module]) -> str | None:
        """Tell what of a model is too much, or None; no memory is taken for its weights.

        Args:
            build: makes the model.

        Raises:
            Exception: whatever ``build`` raises but of its own accord about sizes.
        """
        counted = _Counter(self)
        with ExitStack() as stack:
            stack.callback(register_module_parameter_registration_hook(counted).remove)
            stack.callback(register_module_buffer_registration_hook(counted).remove)
            stack.enter_context(torch.device("meta"))
            try:
                build()
            except _TooLargeError as error:
                return str(error)
            except (RuntimeError, OverflowError) as error:
                # torch can't even count the numbers of a tensor.
                return f"tensors that can't be: {' '.join(str(error).split())}"
        return None


class _Counter:
    """Counts what is registered as parameter or buffer while a model is built."""

    def __init__(self, limit: SizeLimit) -> None:
        self._limit, self._thread = limit, threading.get_ident()
        self._tensors = self._numbers = 0

    def __call__(self, module: nn.Module, name: str, tensor: Tensor | None) -> None:
        # The hooks are those of the whole process, where other threads may build models too.
        if tensor is None or threading.get_ident() != self._thread:
            return
        self._tensors += 1
        self._numbers += tensor.numel()
        if self._numbers > self._limit.numbers:
            raise _TooLargeError(f"more than {self._limit.numbers:,} numbers")
        if self._tensors > self._limit.tensors:
            raise _TooLargeError(f"more than {self._limit.tensors:,} tensors")
