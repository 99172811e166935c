"""The simplest law that measured points follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Law:
    """A law, and how well it holds.

    Args:
        text: as a formula of the quantity, such as ``0.2 + 0.5 · images``.
        deviation: the largest relative difference between it and a point.
    """

    text: str
    deviation: float


def straight_line(name: str, amounts: Sequence[float], values: Sequence[float]) -> Law:
    """Fit ``a + b · amount``, every point counting by its relative difference.

    Args:
        name: of the quantity.
        amounts: at least two different ones.
        values: what was measured there, positive.
    """
    x, y = np.asarray(amounts, float), np.asarray(values, float)
    design = np.stack([np.ones_like(x), x], axis=1) / y[:, None]
    (start, slope), *_ = np.linalg.lstsq(design, np.ones_like(y), rcond=None)
    deviation = float(np.abs((start + slope * x) / y - 1).max())
    return Law(f"{start:.3g} + {slope:.3g} · {name}", deviation)


def power(name: str, amounts: Sequence[float], values: Sequence[float]) -> Law:
    """Fit ``a · amount ** b`` to the logarithms; arguments as for :func:`straight_line`."""
    x, y = np.log(np.asarray(amounts, float)), np.log(np.asarray(values, float))
    exponent, start = np.polyfit(x, y, 1)
    deviation = float(np.abs(np.exp(start + exponent * x - y) - 1).max())
    return Law(f"{np.exp(start):.3g} · {name}^{exponent:.2f}", deviation)
