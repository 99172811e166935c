"""How far the outlines of two masks lie apart: HD95 and normalised surface distance."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from syncsam_lightning.errors import MissingPackageError

_PERCENTILE = 0.95


@dataclass(frozen=True, slots=True)
class SurfaceDistance:
    """Distances between the outlines of two masks.

    Args:
        hd95: the larger of the two directed 95th percentiles of the distance from an outline pixel
            of one mask to the nearest of the other (95 % Hausdorff distance), in pixels.
        nsd: the share of all outline pixels of both masks that lie within the tolerance of the
            other outline, in [0, 1] (normalised surface distance, also called surface Dice).
    """

    hd95: float
    nsd: float


class SurfaceMetrics:
    """Measures outlines with MONAI.

    The outline of a mask is its pixels that have a background pixel beside them; beyond the border
    of the image all is background. Distances are Euclidean and in pixels: tables hold no spacing.

    Two empty masks agree: HD95 0, NSD 1. Where one is empty there is no distance, so it counts as
    the worst that the image allows: HD95 is its diagonal, NSD 0. No mask is left out of a mean.

    Args:
        tolerance: of the NSD, in pixels of the original image.

    Raises:
        ValueError: the tolerance is negative.
        MissingPackageError: MONAI is not installed.
    """

    def __init__(self, tolerance: float = 2.0) -> None:
        if not tolerance >= 0:
            raise ValueError(f"the tolerance must be 0 or more pixels, got {tolerance}")
        self.tolerance = tolerance
        self._distances = _monai_distances()

    def __call__(self, prediction: Tensor, truth: Tensor) -> list[SurfaceDistance]:
        """Measure masks one against one; computed on the CPU, a mask per thread.

        Args:
            prediction: ``(N, H, W)`` bool.
            truth: ``(N, H, W)`` bool.
        """
        pairs = (prediction.cpu(), truth.cpu())
        threads = min(len(prediction), _num_threads())
        if threads < 2:
            return [self._measure(*pair) for pair in zip(*pairs, strict=True)]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(self._measure, *pairs))

    def _measure(self, prediction: Tensor, truth: Tensor) -> SurfaceDistance:
        empty = [not bool(mask.any()) for mask in (prediction, truth)]
        if all(empty):
            return SurfaceDistance(hd95=0.0, nsd=1.0)
        if any(empty):
            return SurfaceDistance(hd95=math.hypot(*truth.shape), nsd=0.0)
        _, (to_truth, to_prediction), _ = self._distances(prediction, truth, symmetric=True)
        percentiles = [_percentile(d) for d in (to_truth, to_prediction)]
        both = torch.cat([to_truth, to_prediction])
        within = int((both <= self.tolerance).sum())
        return SurfaceDistance(hd95=max(percentiles), nsd=within / len(both))


def _percentile(distances: Tensor) -> float:
    return float(torch.quantile(distances.double(), _PERCENTILE))


def _monai_distances() -> Callable[..., Any]:
    # Imported when it is needed: it takes seconds, and not everybody has it.
    try:
        from monai.metrics.utils import get_edge_surface_distance
    except ImportError as error:
        raise MissingPackageError(
            "HD95 and NSD need MONAI: install syncsam-lightning[surface], or leave "
            "model.surface_metrics off"
        ) from error
    distances: Callable[..., Any] = get_edge_surface_distance
    return distances


def _num_threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
