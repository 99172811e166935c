"""What a machine can multiply, and how much a piece of work multiplies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.training.setting import Setting
from benchmarks.training.timing import Work

# The better of two shapes that the ViT itself has counts as what the machine can do.
_TOKENS, _SHAPES = 1024, ((768, 3072), (3072, 768))


@dataclass(frozen=True)
class Product:
    """A large matrix product, to be timed beside other work."""

    name: str
    work: Work
    operations: int


def large_products(setting: Setting, dtype: torch.dtype) -> list[Product]:
    """Return the products whose best rate counts as the machine's peak."""
    found = []
    for narrow, wide in _SHAPES:
        left = torch.randn(_TOKENS, narrow, device=setting.device, dtype=dtype)
        right = torch.randn(wide, narrow, device=setting.device, dtype=dtype)
        work = partial(F.linear, left, right)
        found.append(Product(f"{narrow}x{wide}", work, 2 * _TOKENS * narrow * wide))
    return found


def peak_rate(products: Sequence[Product], seconds: Mapping[str, Sequence[float]]) -> float:
    """Return the best rate that any product reached, in GFLOP/s."""
    return max(product.operations / min(seconds[product.name]) for product in products) / 1e9


def operations(work: Work) -> int:
    """Return how many additions and multiplications ``work`` does in products and convolutions.

    As torch counts them, those of attention and of the backward pass among them; norms,
    activations, softmax and copies are not: in a rate, they count as lost time.
    """
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()
