"""Objects of known truth, carried from one slice through the whole volume with no rule to stop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from syncsam_lightning.prediction import SlicePrompt, StopRule, VolumePredictor
from syncsam_lightning.volumes import stack_of
from syncsam_lightning.volumes.nifti import read_nifti

NEVER = StopRule(min_pixels=1, max_area_change=1e9, min_score=0.0, min_overlap=0.0)
SMALLEST = 20
"""Fewer pixels of truth on the prompted slice are not prompted."""


@dataclass(frozen=True)
class Walk:
    """What a model drew from one prompted slice on, with the truth beside it.

    Args:
        name: of volume and label.
        start: the prompted slice.
        drawn: ``(slices, H, W)`` bool, all that was drawn.
        truth: ``(slices, H, W)`` bool.
        scores: stability score of each slice that was drawn on.
    """

    name: str
    start: int
    drawn: np.ndarray
    truth: np.ndarray
    scores: dict[int, float]

    def kept(self, stop: StopRule) -> tuple[int, int]:
        """Return the first and the last slice that are kept under a rule."""
        ends = []
        for step in (-1, 1):
            last = self.start
            while (after := last + step) in self.scores:
                if stop.reason(self.drawn[last], self.drawn[after], self.scores[after]):
                    break
                last = after
            ends.append(last)
        return ends[0], ends[1]

    def outcome(self, first: int, last: int) -> Outcome:
        """Compare the slices from ``first`` to ``last`` with the truth."""
        there = np.flatnonzero(self.truth.any(axis=(1, 2)))
        low, high = int(there[0]), int(there[-1])
        drawn = self.drawn[first : last + 1]
        both = int((drawn & self.truth[first : last + 1]).sum())
        return Outcome(
            dice=2 * both / (int(drawn.sum()) + int(self.truth.sum())),
            beyond=max(0, low - first) + max(0, last - high),
            missed=max(0, first - low) + max(0, high - last),
        )

    def true_ends(self) -> tuple[int, int]:
        """Return the first and the last slice of the truth, of those that were drawn on."""
        there = np.flatnonzero(self.truth.any(axis=(1, 2)))
        return max(int(there[0]), min(self.scores)), min(int(there[-1]), max(self.scores))


@dataclass(frozen=True)
class Outcome:
    """How well a volume was segmented.

    Args:
        dice: of the whole object.
        beyond: slices drawn on that the object does not reach.
        missed: slices of the object that were not drawn on.
    """

    dice: float
    beyond: int
    missed: int


def walks(predictor: VolumePredictor, folder: Path) -> Iterator[Walk]:
    """Prompt each label of each volume with its true box, on three slices one after the other.

    Args:
        predictor: with :data:`NEVER` for its rule.
        folder: with ``images`` and ``masks``, label maps of NIfTI, as ``MaskFolder`` has them.
    """
    for path in sorted((folder / "images").glob("*.nii*")):
        volume = predictor.set_volume(path)
        plane = predictor.plane or "axial"
        labels = stack_of(read_nifti(folder / "masks" / path.name), plane)
        for value in np.unique(labels[labels > 0]).tolist():
            truth = labels == value
            there = np.flatnonzero(truth.sum(axis=(1, 2)) >= SMALLEST)
            if len(there) < 4:
                continue
            for share in (0.25, 0.5, 0.75):
                start = int(there[int(share * (len(there) - 1))])
                rows, columns = (np.flatnonzero(truth[start].any(axis)) for axis in (1, 0))
                box = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
                found = predictor.predict([SlicePrompt(start, box=box)])
                drawn = stack_of(replace(volume, voxels=found.mask), plane)
                yield Walk(f"{path.name} {value}", start, drawn, truth, dict(found.scores))
