"""The polynomial that measured points follow."""

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


def polynomial(name: str, amounts: Sequence[float], values: Sequence[float], degree: int) -> Law:
    """Fit ``a + b · amount + c · amount² …``, every point counting by its relative difference.

    Args:
        name: of the quantity.
        amounts: more different ones than ``degree``.
        values: what was measured there, positive.
        degree: the highest power.
    """
    x, y = np.asarray(amounts, float), np.asarray(values, float)
    powers = np.stack([x**power for power in range(degree + 1)], axis=1)
    factors, *_ = np.linalg.lstsq(powers / y[:, None], np.ones_like(y), rcond=None)
    names = ["", f" · {name}", *(f" · {name}^{power}" for power in range(2, degree + 1))]
    terms = [f"{factor:.3g}{symbol}" for factor, symbol in zip(factors, names, strict=True)]
    deviation = float(np.abs(powers @ factors / y - 1).max())
    return Law(" + ".join(terms).replace("+ -", "- "), deviation)
