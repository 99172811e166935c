"""Grey values of a slice out of the values of a volume."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

from syncsam_lightning.volumes import Volume


class Intensity(Protocol):
    """Which values become black and white; those between are spread evenly. Picklable."""

    def limits(self, values: np.ndarray, volume: Volume) -> tuple[float, float]:
        """Return the values that become 0 and 255.

        Args:
            values: ``(H, W)`` of the slice.
            volume: that it is a slice of.
        """
        ...


@dataclass(frozen=True, slots=True)
class SliceRange:
    """The least and the greatest value of each slice (the predecessor's rule)."""

    def limits(self, values: np.ndarray, volume: Volume) -> tuple[float, float]:
        """Return the range of the slice."""
        return float(values.min()), float(values.max())


@dataclass(frozen=True, slots=True)
class Window:
    """A fixed window, such as -160 to 240 HU for the soft tissue of the abdomen.

    Args:
        low, high: values that become 0 and 255.
    """

    low: float
    high: float

    def limits(self, values: np.ndarray, volume: Volume) -> tuple[float, float]:
        """Return the window."""
        return self.low, self.high


@dataclass(frozen=True, slots=True)
class VolumePercentiles:
    """Percentiles of the whole volume, so that neighbouring slices are equally bright.

    Args:
        low, high: percentiles, 0..100, whose values become 0 and 255.
    """

    low: float = 0.5
    high: float = 99.5

    def limits(self, values: np.ndarray, volume: Volume) -> tuple[float, float]:
        """Return the percentiles."""
        return _percentiles(volume, self.low, self.high)


@lru_cache(maxsize=1)
def _percentiles(volume: Volume, low: float, high: float) -> tuple[float, float]:
    stored = np.percentile(volume.voxels, (low, high))
    first, last = sorted(volume.values(stored).tolist())
    return float(first), float(last)


def to_grey(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Spread values evenly over 0..255; what lies outside is cut off.

    Args:
        values: ``(H, W)`` numbers.
        low: what becomes 0.
        high: what becomes 255; if it is not above ``low``, all becomes 0.

    Returns:
        ``(H, W)`` uint8, rounded.
    """
    if high <= low:
        return np.zeros(values.shape, dtype=np.uint8)
    grey = (values.astype(np.float64) - low) * (255.0 / (high - low))
    return np.round(grey.clip(0, 255)).astype(np.uint8)
