"""Drawing train, validation and test sets by case or by image."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from syncsam_lightning.data.families import numbering_of, patient_of, shared
from syncsam_lightning.data.keys import holds
from syncsam_lightning.data.sides import CasesBySide
from syncsam_lightning.records import SPLITS, RawSample, Skipped, Split
from syncsam_lightning.seeding import stable_key

SplitBy = Literal["case", "image"]

_KEYS = 1 << 63
_ON_ITS_OWN = ""
# Of a patient some of whose slices are tested on, the others are never trained on.
_STRICTEST: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class SplitRule:
    """How a release without an official split is divided, and where validation comes from.

    Args:
        by: ``case`` keeps all images of a case together, and of a patient whom several data sets
            hand out; ``image`` is the paper's rule for SA-Med2D-20M, which puts slices of one
            volume on both sides.
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
        # Written so that NaN, which is neither above nor below anything, is refused.
        are_shares = 0 <= self.test_fraction <= 1 and 0 <= self.val_fraction <= 1
        if not are_shares or (
            self.test_fraction != 1 and self.test_fraction + self.val_fraction >= 1
        ):
            raise ValueError(
                "test_fraction and val_fraction must be at least 0 and sum to less than 1 (or "
                f"test_fraction be 1), got {self.test_fraction} and {self.val_fraction}"
            )

    def group(self, sample: RawSample) -> tuple[str, int]:
        """Return what must stay on one side of the split.

        Returns:
            the name of the numbering of patients that the sample belongs to, ``""`` if its data set
            is on its own; and the key of the group, in [0, 2**63).
        """
        if self.by == "image":
            return _ON_ITS_OWN, stable_key("split", self.seed, "image", sample.source, sample.id)
        owner, patient = patient_of(sample.source, sample.case)
        if numbering_of(sample.source) is None:
            return _ON_ITS_OWN, stable_key("split", self.seed, "case", owner, patient)
        return owner, stable_key("split", self.seed, "patient", owner, patient)


@dataclass(slots=True)
class _Groups:
    """Keys of groups, by where the release puts some of their samples; sorted once counted."""

    free: array[int] = field(default_factory=lambda: array("q"))
    train: array[int] = field(default_factory=lambda: array("q"))
    val: array[int] = field(default_factory=lambda: array("q"))
    test: array[int] = field(default_factory=lambda: array("q"))

    def add(self, split: Split | None, key: int) -> None:
        keys: array[int] = getattr(self, split or "free")
        if not keys or keys[-1] != key:  # slices of a case follow each other
            keys.append(key)

    def side(self) -> Split | None:
        """Return the side that samples without a split follow; None: the release names none."""
        return next((side for side in reversed(_STRICTEST) if getattr(self, side)), None)


class Splitter:
    """The split of a whole release.

    Samples keep their official split. Those without one follow the others of their case, test
    before validation before training; cases of which no sample has one are drawn.

    The groups of data sets on their own are put in the order of their seeded hashes and cut at the
    fractions, so that shares are exact. Patients whom several data sets number alike are drawn by
    the hash itself, so that every table of a seed and its fractions has them on the same side.
    Where several data sets share patients under numbers of their own, all of them are trained on:
    whichever were tested, a copy might have been trained on. A fraction above zero gets at least
    one group, as long as one is left for training.

    Args:
        samples: the release; only names are looked at, no pixels are loaded.
        rule: how to divide.
    """

    def __init__(self, samples: Iterable[RawSample | Skipped], rule: SplitRule) -> None:
        self._rule = rule
        owners: dict[str, _Groups] = {}
        #: Samples with masks.
        self.num_samples = 0
        for sample in samples:
            if isinstance(sample, Skipped) or not sample.masks:
                continue
            self.num_samples += 1
            owner, key = rule.group(sample)
            owners.setdefault(owner, _Groups()).add(sample.split, key)
        has_validation = any(groups.val for groups in owners.values())
        undrawn: Split = "test" if rule.test_fraction == 1 else "train"
        self._whole: dict[str, Split] = {}
        for tied in shared(owners):
            marked = [side for owner in tied if (side := owners[owner].side())]
            self._whole |= dict.fromkeys(tied, max(marked, key=_STRICTEST.index, default=undrawn))
        self._marked = {split: _joined(owners.values(), split) for split in SPLITS}
        self._cases = CasesBySide()
        alone = [owners.get(_ON_ITS_OWN, _Groups())]
        numbered = [
            groups
            for owner, groups in owners.items()
            if owner != _ON_ITS_OWN and owner not in self._whole
        ]
        self._draw(alone, numbered, 0.0 if has_validation else rule.val_fraction)

    def _draw(self, alone: list[_Groups], numbered: list[_Groups], val_fraction: float) -> None:
        """Draw test and validation sets from groups that are cut by rank, and by their hash."""
        test_fraction, marked = self._rule.test_fraction, self._marked
        official = np.concatenate(list(marked.values()))
        free = [np.setdiff1d(_joined(groups, "free"), official) for groups in (alone, numbered)]
        self._test = _drawn(free[0], free[1], test_fraction, 0.0, test_fraction)
        left = [
            np.union1d(np.setdiff1d(keys, self._test), _joined(groups, "train"))
            for keys, groups in zip(free, (alone, numbered), strict=True)
        ]
        # A patient who is tested on as well is validated on only where there is no other.
        clean = [np.setdiff1d(keys, marked["test"]) for keys in left]
        if any(len(keys) for keys in clean):
            left = clean
        # Where everything is for test, nothing is left to validate on.
        is_drawn = any(len(keys) for keys in free)
        rest = 1 - test_fraction if is_drawn else 1.0
        begin = test_fraction if is_drawn or test_fraction < 1 else 0.0
        of_rest = val_fraction / rest if rest else 0.0
        self._val = _drawn(left[0], left[1], of_rest, begin, begin + val_fraction)

    def __call__(self, sample: RawSample) -> Split:
        """Return the side of the split that a sample is on."""
        owner, key = self._rule.group(sample)
        side = self._side(sample.split, owner, key)
        self._cases.add(sample.source, sample.case, side)
        return side

    def _side(self, split: Split | None, owner: str, key: int) -> Split:
        if split in ("val", "test"):
            return split
        if split is None:
            if holds(self._marked["test"], key) or holds(self._test, key):
                return "test"
            if holds(self._marked["val"], key):
                return "val"
        if owner in self._whole:
            # Slices that the release trains on keep the others of their case with them.
            is_trained = split == "train" or holds(self._marked["train"], key)
            return "train" if is_trained else self._whole[owner]
        return "val" if holds(self._val, key) else "train"

    def notes(self) -> list[str]:
        """Return what a user should know of the split, once every sample has got its side."""
        cause = "the official split" if self._rule.by == "case" else "split_by image"
        return self._cases.notes(cause)


def _joined(groups: Iterable[_Groups], name: str) -> np.ndarray:
    """Return the distinct keys of some groups, ascending int64; 8 bytes each."""
    found = [np.unique(getattr(part, name)) for part in groups if getattr(part, name)]
    return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)


def _drawn(
    alone: np.ndarray, numbered: np.ndarray, fraction: float, begin: float, end: float
) -> np.ndarray:
    """Return the keys that a share is made of, ascending.

    Args:
        alone: keys that are cut by rank.
        numbered: keys that belong to it if they lie between ``begin`` and ``end`` of all keys.
        fraction: the share.
        begin: from 0 to 1.
        end: from ``begin`` on.
    """
    everything = np.union1d(alone, numbered)
    if fraction >= 1:
        return everything
    if fraction <= 0 or len(everything) < 2:
        return everything[:0]
    at = numbered / _KEYS
    found = np.union1d(alone[: _share(len(alone), fraction)], numbered[(begin <= at) & (at < end)])
    if not len(found):
        return everything[:1]
    return found[:-1] if len(found) == len(everything) else found


def _share(groups: int, fraction: float) -> int:
    if groups < 2:
        return 0
    return min(groups - 1, max(1, round(groups * fraction)))
