"""Masks of one image at its original size, in an eighth of their memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

PIXELS_AT_ONCE = 1 << 24
"""How many pixels, over all objects, are held at the original size at a time: 64 MiB of float32.

An image that is larger by itself is taken one object at a time. No memory grows with the product of
objects and pixels, but for the bits that :class:`PackedMasks` keeps.
"""

_BITS = (128, 64, 32, 16, 8, 4, 2, 1)  # of the pixels in a byte, as in numpy.packbits


def parts_of(count: int, pixels: int) -> Iterator[slice]:
    """Yield the objects of an image in parts of at most :data:`PIXELS_AT_ONCE` pixels.

    Args:
        count: how many objects.
        pixels: of each.

    Yields:
        slices of at least one object, in order; none if ``count`` is 0.
    """
    size = max(1, PIXELS_AT_ONCE // max(1, pixels))
    for begin in range(0, count, size):
        yield slice(begin, min(begin + size, count))


@dataclass(frozen=True, slots=True, eq=False)
class PackedMasks:
    """n masks of one size, a bit for each pixel.

    ``masks[i]`` is ``(H, W)`` bool, ``masks[a:b]`` is ``(b - a, H, W)`` bool, each unpacked anew;
    iterating gives one after the other.

    Args:
        bits: ``(n, ceil(H · W / 8))`` uint8: the pixels in reading order, the first in the highest
            bit; the last byte is filled up with zeros.
        height, width: H and W.
    """

    bits: Tensor
    height: int
    width: int

    @classmethod
    def of(cls, masks: Tensor) -> PackedMasks:
        """Pack masks.

        Args:
            masks: ``(n, H, W)`` bool.

        Raises:
            ValueError: they are not bool, or have not three dimensions.
        """
        if masks.ndim != 3 or masks.dtype != torch.bool:
            raise ValueError(f"masks must be (n, H, W) bool, got {masks.shape} {masks.dtype}")
        count, height, width = masks.shape
        return cls(_packed(masks.reshape(count, height * width)), height, width)

    @classmethod
    def joined(cls, parts: Sequence[PackedMasks]) -> PackedMasks:
        """Put masks of one size behind one another.

        Args:
            parts: at least one, which may be of no mask.
        """
        return replace(parts[0], bits=torch.cat([part.bits for part in parts]))

    @property
    def shape(self) -> tuple[int, int, int]:
        """n, H and W."""
        return len(self), self.height, self.width

    def __len__(self) -> int:
        return len(self.bits)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int | slice) -> Tensor:
        bits = self.bits[index]
        flat = _unpacked(bits, self.height * self.width)
        return flat.reshape(*bits.shape[:-1], self.height, self.width)

    def parts(self) -> Iterator[slice]:
        """Yield slices that are unpacked within the bound of :func:`parts_of`."""
        return parts_of(len(self), self.height * self.width)

    def union(self, members: Sequence[int]) -> PackedMasks:
        """Return one mask, the foreground of any of ``members``."""
        joined = torch.zeros_like(self.bits[:1])
        for member in members:
            joined |= self.bits[member]
        return replace(self, bits=joined)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PackedMasks:
        """Return the same on ``device``."""
        return replace(self, bits=self.bits.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> PackedMasks:
        """Return the same in page-locked memory."""
        return replace(self, bits=self.bits.pin_memory())


def _packed(flat: Tensor) -> Tensor:
    """Return ``(n, ceil(p / 8))`` uint8 of ``(n, p)`` bool."""
    if flat.device.type == "cpu":  # some twenty times faster than tensors do it
        return torch.from_numpy(np.packbits(flat.numpy(), axis=1))
    return _packed_anywhere(flat)


def _packed_anywhere(flat: Tensor) -> Tensor:
    count, pixels = flat.shape
    whole = torch.nn.functional.pad(flat.to(torch.uint8), (0, -pixels % 8))
    weights = torch.tensor(_BITS, dtype=torch.uint8, device=flat.device)
    return (whole.view(count, -1, 8) * weights).sum(dim=2, dtype=torch.uint8)


def _unpacked(bits: Tensor, pixels: int) -> Tensor:
    """Return ``(..., pixels)`` bool of ``(..., b)`` uint8."""
    if bits.device.type == "cpu":
        return torch.from_numpy(np.unpackbits(bits.numpy(), axis=-1, count=pixels).view(bool))
    return _unpacked_anywhere(bits, pixels)


def _unpacked_anywhere(bits: Tensor, pixels: int) -> Tensor:
    weights = torch.tensor(_BITS, dtype=torch.uint8, device=bits.device)
    return ((bits[..., None] & weights) != 0).flatten(-2)[..., :pixels]
