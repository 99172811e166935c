"""The connected components of a mask, and which are large enough to be objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True, slots=True)
class SmallestObject:
    """How much of its image an object has to cover.

    Args:
        share: of the image's pixels, 0..1.
        inclusive: whether exactly this much is enough.

    Raises:
        ValueError: ``share`` is out of range.
    """

    share: float
    inclusive: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ValueError(f"share must be at least 0 and below 1, got {self.share}")

    def keeps(self, areas: np.ndarray, num_pixels: int) -> np.ndarray:
        """Return which objects are large enough.

        Args:
            areas: ``(n,)`` pixels of each object.
            num_pixels: of the image.

        Returns:
            ``(n,)`` bool.
        """
        shares = areas / num_pixels
        kept: np.ndarray = shares >= self.share if self.inclusive else shares > self.share
        return kept

    def __str__(self) -> str:
        return f"{'less than' if self.inclusive else 'no more than'} {self.share:.4%}"


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """The 8-connected components of a mask, in the order in which rows of pixels meet them.

    Args:
        numbers: ``(H, W)`` int32; 0 is background, component i has i + 1.
        areas: ``(n,)`` int64 pixels of each.
    """

    numbers: np.ndarray
    areas: np.ndarray

    @classmethod
    def of(cls, mask: np.ndarray) -> Components:
        """Find the components.

        Args:
            mask: ``(H, W)`` bool.
        """
        numbers, count = ndimage.label(mask, structure=_EIGHT_NEIGHBOURS)
        return cls(numbers, np.bincount(numbers.ravel(), minlength=count + 1)[1:])

    @classmethod
    def whole(cls, mask: np.ndarray) -> Components:
        """Take all foreground for one component; none if there is no foreground.

        Args:
            mask: ``(H, W)`` bool.
        """
        area = int(np.count_nonzero(mask))
        return cls(mask.astype(np.int32), np.array([area] if area else [], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.areas)

    def mask(self, index: int) -> np.ndarray:
        """Return ``(H, W)`` bool where a component is."""
        found: np.ndarray = self.numbers == index + 1
        return found


@dataclass(frozen=True, slots=True)
class ComponentMask:
    """Draws one component when called; the others share its map."""

    components: Components
    index: int

    def __call__(self) -> np.ndarray:
        """Return ``(H, W)`` bool."""
        return self.components.mask(self.index)
