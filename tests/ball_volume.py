"""A volume of a bright ball, for tests of what is found in it."""

from __future__ import annotations

import numpy as np

AFFINE = np.array([[0, -0.8, 0, 12], [0.8, 0, 0, -7], [0, 0, 2.5, 5], [0, 0, 0, 1.0]])


def ball(shape: tuple[int, int, int] = (20, 22, 12)) -> np.ndarray:
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    inside: np.ndarray = np.linalg.norm(grid - (9, 12, 6), axis=-1) <= 4.5
    return inside


def hounsfield() -> np.ndarray:
    return np.where(ball(), 100, -1000).astype(np.int16)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))
