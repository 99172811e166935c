"""Random numbers that are a pure function of a key: the same in any batch and on any device.

A counter-based generator in place of a stream: nothing is advanced, so an object gets the same
numbers alone, in a batch, on another worker or rank, on a CPU or a GPU. The mixing function is the
finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
OOPSLA 2014), written in int64 tensor arithmetic, which wraps around like the unsigned original.
"""

from __future__ import annotations

import torch
from torch import Tensor


def _signed(value: int) -> int:
    """Return the int64 that has the same 64 bits as an unsigned number."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


_GOLDEN_GAMMA = 0x9E3779B97F4A7C15
_COUNTER_GAMMA = 0xD1342543DE82EF95  # another odd constant, so that counters and outputs can't meet
_MULTIPLIER_1 = _signed(0xBF58476D1CE4E5B9)
_MULTIPLIER_2 = _signed(0x94D049BB133111EB)
_INTEGER_BITS = 31
_FLOAT_BITS = 24  # the mantissa of a float32


def _shift_right(x: Tensor, by: int) -> Tensor:
    # >> of an int64 repeats the sign bit; the mask makes the shift logical.
    return (x >> by) & ((1 << (64 - by)) - 1)


def mix64(x: Tensor) -> Tensor:
    """Return SplitMix64's finaliser of each element.

    Args:
        x: int64 of any shape, read as unsigned 64-bit numbers.

    Returns:
        int64 of the same shape. A bijection in which every output bit depends on all input bits.
    """
    x = (x ^ _shift_right(x, 30)) * _MULTIPLIER_1
    x = (x ^ _shift_right(x, 27)) * _MULTIPLIER_2
    return x ^ _shift_right(x, 31)


def random_bits(keys: Tensor, *counters: int, num: int = 1) -> Tensor:
    """Return ``num`` random int64 per key.

    Args:
        keys: ``(N,)`` int64.
        counters: what the numbers are for (purpose, draw, ...); other counters, or a different
            number of them, give independent numbers.
        num: how many numbers per key; a larger ``num`` begins with the same numbers.

    Returns:
        ``(N, num)`` int64, all 64 bits random.

    Raises:
        ValueError: ``keys`` is not a vector of int64.
    """
    if keys.ndim != 1 or keys.dtype != torch.int64:
        raise ValueError(f"keys must be (N,) int64, got {tuple(keys.shape)} {keys.dtype}")
    state = mix64(keys + _signed(_GOLDEN_GAMMA))
    for counter in counters:
        state = mix64(state + _signed((counter + 1) * _COUNTER_GAMMA))
    steps = torch.arange(1, num + 1, dtype=torch.int64, device=keys.device)
    return mix64(state[:, None] + steps * _signed(_GOLDEN_GAMMA))


def uniform(keys: Tensor, *counters: int, num: int = 1) -> Tensor:
    """Return ``num`` numbers per key, uniform in [0, 1).

    Args:
        keys: ``(N,)`` int64.
        counters: see :func:`random_bits`.
        num: see :func:`random_bits`.

    Returns:
        ``(N, num)`` float32, multiples of 2**-24.
    """
    bits = _shift_right(random_bits(keys, *counters, num=num), 64 - _FLOAT_BITS)
    return bits.to(torch.float32) * 2.0**-_FLOAT_BITS


def integers(keys: Tensor, *counters: int, high: Tensor, num: int = 1) -> Tensor:
    """Return ``num`` integers per key, uniform in [0, high).

    Computed without floating point, so that a CPU and a GPU can't round differently.

    Args:
        keys: ``(N,)`` int64.
        counters: see :func:`random_bits`.
        high: ``(N,)`` integer, exclusive upper bound of each key, below 2**31. Where it is 0, the
            result is 0.
        num: see :func:`random_bits`.

    Returns:
        ``(N, num)`` int64. No value is more likely than another by more than ``high / 2**31``.
    """
    bits = _shift_right(random_bits(keys, *counters, num=num), 64 - _INTEGER_BITS)
    return (bits * high.to(torch.int64)[:, None]) >> _INTEGER_BITS
