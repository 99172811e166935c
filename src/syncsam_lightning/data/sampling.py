"""How often the modalities or sources of a training set come up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from syncsam_lightning.data.index import TableIndex
from syncsam_lightning.data.order import Stratum
from syncsam_lightning.errors import SyncSAMError


class SamplingError(SyncSAMError):
    """Sampling weights don't fit the groups in the training set."""


@dataclass(frozen=True)  # no slots: jsonargparse reads defaults from __dict__
class Sampling:
    """Draws training images by group, not as often as each group happens to occur.

    Args:
        by: what makes a group.
        weights: ``balanced`` gives each group the same number of samples in an epoch; a mapping
            gives each its part of the sum, and 0 leaves a group out: ``{ct: 1, mr: 2}`` makes every
            third image a CT. Every group of the training set must be named.
        epoch_size: samples in an epoch; None: as many as there are training images.

    Raises:
        ValueError: a weight is negative, all are 0, or the size is not positive.
    """

    by: Literal["modality", "source"] = "modality"
    weights: Literal["balanced"] | Mapping[str, float] = "balanced"
    epoch_size: int | None = None

    def __post_init__(self) -> None:
        if self.epoch_size is not None and self.epoch_size < 1:
            raise ValueError(f"sampling.epoch_size must be at least 1, got {self.epoch_size}")
        if isinstance(self.weights, Mapping):
            for name, weight in self.weights.items():
                if not 0 <= weight < float("inf"):
                    raise ValueError(f"sampling.weights: {name} must be 0 or more, got {weight}")
            if not any(self.weights.values()):
                raise ValueError("sampling.weights: one at least must be above 0")

    def strata(self, index: TableIndex, offsets: np.ndarray) -> list[Stratum]:
        """Return the groups of a training set with their shares.

        Args:
            index: of the table.
            offsets: positions of the training rows in it.

        Returns:
            strata of positions within ``offsets``.

        Raises:
            SamplingError: a weight names no group, or a group has no weight.
        """
        column = index.modality if self.by == "modality" else index.source
        codes = column.codes[offsets]
        present = {column.values[code]: code for code in np.unique(codes).tolist()}
        weights = self._weights_of(present)
        return [
            Stratum(np.flatnonzero(codes == code), weights[name])
            for name, code in sorted(present.items())
        ]

    def _weights_of(self, groups: Mapping[str, int]) -> Mapping[str, float]:
        if not isinstance(self.weights, Mapping):
            return dict.fromkeys(groups, 1.0)
        there = f"the training set has {', '.join(sorted(groups))}"
        if unknown := sorted(set(self.weights) - set(groups)):
            raise SamplingError(
                f"data.sampling.weights: no training image is of {self.by} {unknown[0]!r}; {there}"
            )
        if missing := sorted(set(groups) - set(self.weights)):
            raise SamplingError(
                f"data.sampling.weights: {self.by} {missing[0]!r} has no weight (0 leaves it out); "
                f"{there}"
            )
        if not any(self.weights[name] for name in groups):
            raise SamplingError(f"data.sampling.weights: every weight is 0; {there}")
        return self.weights
