"""Every number of a comparison, in one tidy frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from syncsam_lightning.errors import ComparisonError
from syncsam_lightning.evaluation.comparison.pairing import Averaging, PairedScores
from syncsam_lightning.evaluation.comparison.statistics import describe
from syncsam_lightning.seeding import numpy_generator

Unit = Literal["case", "image"]
"""What is taken to be independent of one another."""

OVERALL = "overall"
GROUPINGS = {"data set": "source", "modality": "modality", "class": "label"}
"""How masks are grouped, beside all together: title -> column."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How sure a comparison wants to be.

    Args:
        unit: what the bootstrap draws and the test pairs.
        resamples: of the bootstrap.
        confidence: level of the intervals.
        seed: of the bootstrap.

    Raises:
        ComparisonError: a value is out of range.
    """

    unit: Unit = "case"
    resamples: int = 2000
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if self.resamples < 1:
            raise ComparisonError(f"resamples must be at least 1, got {self.resamples}")
        if not 0 < self.confidence < 1:
            raise ComparisonError(f"confidence must be between 0 and 1, got {self.confidence}")


FEWEST_UNITS = 6
"""With fewer pairs no p of a Wilcoxon test gets below 0.05."""


def measure(paired: PairedScores, settings: Settings) -> pd.DataFrame:
    """Return a row per grouping, group, protocol and model.

    Args:
        paired: the scores.
        settings: of intervals and tests.

    Returns:
        the columns ``grouping, group, protocol, model``; ``dsc``, in [0, 1], the mean over masks
        (or images, where that is the protocol's rule) and runs; ``sd``, the sample standard
        deviation of the means of the runs, NaN for one run; ``num_runs``; ``low, high, difference,
        difference_low, difference_high, p, p_holm`` (see :class:`.statistics.Statistics`);
        ``num_masks, num_images, num_units``; and ``fill_box``, the mean DSC of filling the tight
        box.
    """
    units = _units(paired.masks, settings.unit)
    images = (
        paired.masks.groupby(["source", "image_id"], sort=False, observed=True).ngroup().to_numpy()
    )
    rows: list[dict[str, Any]] = []
    for grouping, group, protocol, members in _groups(paired):
        found = {model: paired.scores_of(model, members) for model in paired.models}
        runs = {model: scores for model, scores in found.items() if scores.shape[1]}
        weights = _weights(images[members], paired.averaging[protocol])
        statistics = describe(
            np.stack([scores.mean(axis=1) for scores in runs.values()], axis=1),
            units[members],
            weights,
            resamples=settings.resamples,
            confidence=settings.confidence,
            generator=numpy_generator("compare", settings.seed, grouping, group, protocol),
        )
        shared = {
            "grouping": grouping,
            "group": group,
            "protocol": protocol,
            "num_masks": len(members),
            "num_images": len(np.unique(images[members])),
            "num_units": statistics.num_units,
            "fill_box": np.average(paired.masks["fill_box_dice"].iloc[members], weights=weights),
        }
        for at, (model, scores) in enumerate(runs.items()):
            means = np.average(scores, axis=0, weights=weights)
            rows.append(
                {
                    **shared,
                    "model": model,
                    "dsc": statistics.mean[at],
                    "sd": means.std(ddof=1) if len(means) > 1 else np.nan,
                    "num_runs": len(means),
                    "low": statistics.interval[at, 0],
                    "high": statistics.interval[at, 1],
                    "difference": statistics.difference[at],
                    "difference_low": statistics.difference_interval[at, 0],
                    "difference_high": statistics.difference_interval[at, 1],
                    "p": statistics.p[at],
                    "p_holm": statistics.p_holm[at],
                }
            )
    return pd.DataFrame(rows)


def _groups(paired: PairedScores) -> Iterator[tuple[str, str, str, np.ndarray]]:
    """Yield grouping, group, protocol and the positions of its masks; groups in order of name."""
    for protocol in paired.protocols:
        masks = paired.masks[paired.masks["protocol"] == protocol]
        yield OVERALL, "", protocol, masks.index.to_numpy()
        for grouping, column in GROUPINGS.items():
            members = masks.groupby(column, observed=True).groups
            for group in sorted(members, key=lambda name: (name.casefold(), name)):
                yield grouping, group, protocol, members[group].to_numpy()


def _weights(images: np.ndarray, averaging: Averaging) -> np.ndarray:
    """Return ``(n,)`` weights: all masks alike, or all images alike with all masks of each."""
    if averaging == "masks":
        return np.ones(len(images))
    _, codes, counts = np.unique(images, return_inverse=True, return_counts=True)
    weights: np.ndarray = 1 / counts[codes]
    return weights


def _units(masks: pd.DataFrame, unit: Unit) -> np.ndarray:
    """Return ``(N,)`` int: the case, or the image, of each mask; an image without a case is one."""
    case = masks["case"].astype(str)
    by_image = (case == "") | (unit == "image")
    name = np.where(by_image, masks["image_id"].astype(str), case)
    frame = pd.DataFrame({"source": masks["source"], "by_image": by_image, "name": name})
    number: np.ndarray = frame.groupby(list(frame), sort=False, observed=True).ngroup().to_numpy()
    return number
