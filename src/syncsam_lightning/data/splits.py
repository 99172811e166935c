"""Drawing train, validation and test sets by case or by image."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from syncsam_lightning.data.keys import holds
from syncsam_lightning.records import RawSample, Skipped, Split
from syncsam_lightning.seeding import stable_key

SplitBy = Literal["case", "image"]


@dataclass(frozen=True, slots=True)
class SplitRule:
    """How a release without an official split is divided, and where validation comes from.

    Args:
        by: ``case`` keeps all images of a case together; ``image`` is the paper's rule for
            SA-Med2D-20M, which puts slices of one volume on both sides.
        test_fraction: share of the cases (or images) without an official split that are for test.
        val_fraction: share of the cases (or images) for validation, taken from what would be
            trained on; also where the official split has train and test only.
        seed: other seeds draw other splits.

    Raises:
        ValueError: the fractions leave nothing to train on, or another value is unknown.
    """

    by: SplitBy = "case"
    test_fraction: float = 0.2
    val_fraction: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        # A misspelt rule must not split by image in silence: slices of one patient on both sides.
        if self.by not in get_args(SplitBy):
            raise ValueError(f"split_by must be {' or '.join(get_args(SplitBy))}, got {self.by!r}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise ValueError(f"split_seed must be a whole number of 0 or more, got {self.seed!r}")
        if min(self.test_fraction, self.val_fraction) < 0 or (
            self.test_fraction != 1 and self.test_fraction + self.val_fraction >= 1
        ):
            raise ValueError(
                "test_fraction and val_fraction must be at least 0 and sum to less than 1 (or "
                f"test_fraction be 1), got {self.test_fraction} and {self.val_fraction}"
            )

    def group(self, sample: RawSample) -> int:
        """Return the key of what must stay on one side of the split."""
        name = sample.case if self.by == "case" else sample.id
        return stable_key("split", self.seed, self.by, sample.source, name)


class Splitter:
    """The split of a whole release.

    The groups are put in the order of their seeded hashes and cut at the fractions, so that shares
    are exact. A fraction above zero gets at least one group, as long as one is left for training.

    Args:
        samples: the release; only names are looked at, no pixels are loaded.
        rule: how to divide.
    """

    def __init__(self, samples: Iterable[RawSample | Skipped], rule: SplitRule) -> None:
        self._rule = rule
        free_keys, trained_keys = array("q"), array("q")
        has_validation = False
        #: Samples with masks.
        self.num_samples = 0
        for sample in samples:
            if isinstance(sample, Skipped) or not sample.masks:
                continue
            self.num_samples += 1
            if sample.split is None:
                free_keys.append(rule.group(sample))
            elif sample.split == "train":
                trained_keys.append(rule.group(sample))
            has_validation |= sample.split == "val"
        val_fraction = 0.0 if has_validation else rule.val_fraction
        # Sorted arrays take 8 bytes a group: split by image, a large release has millions.
        free, trained = np.unique(free_keys), np.unique(trained_keys)
        num_test = _share(len(free), rule.test_fraction)
        self._test = free[:num_test]
        left = np.concatenate([free[num_test:], np.setdiff1d(trained, free)])
        # Where everything is for test, nothing is left to validate on.
        rest = 1 - rule.test_fraction if len(free) else 1.0
        of_all = val_fraction / rest if rest else 0.0
        self._val = np.sort(left[: _share(len(left), of_all)])

    def __call__(self, sample: RawSample) -> Split:
        """Return the side of the split that a sample is on."""
        if sample.split in ("val", "test"):
            return sample.split
        group = self._rule.group(sample)
        if sample.split is None and holds(self._test, group):
            return "test"
        return "val" if holds(self._val, group) else "train"


def _share(groups: int, fraction: float) -> int:
    if fraction == 1:
        return groups
    if fraction <= 0 or groups < 2:
        return 0
    return min(groups - 1, max(1, round(groups * fraction)))
