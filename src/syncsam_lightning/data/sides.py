"""Which cases lie on two sides of a split."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from syncsam_lightning.data.families import numbering_of, patient_of, shared
from syncsam_lightning.records import SPLITS, Split
from syncsam_lightning.seeding import stable_key

_NAMED = 5


class CasesBySide:
    """Counts the cases that lie on two sides, under whatever name; 8 bytes a case and side."""

    def __init__(self) -> None:
        self._cases: dict[str, dict[Split, array[int]]] = {}
        self._sources: dict[str, set[str]] = {}
        self._last: tuple[str, str, Split] | None = None

    def add(self, source: str, case: str, side: Split) -> None:
        """Note the side of an image of a case."""
        if (source, case, side) == self._last:  # slices of a case follow each other
            return
        self._last = (source, case, side)
        owner, patient = patient_of(source, case)
        self._sources.setdefault(owner, set()).add(source)
        sides = self._cases.setdefault(owner, {})
        sides.setdefault(side, array("q")).append(stable_key(owner, patient))

    def on_two_sides(self) -> dict[tuple[str, Split, Split], int]:
        """Return how many cases lie on two sides, by numbering or data set, and sides."""
        found = {}
        for owner, sides in self._cases.items():
            keys = {side: np.unique(sides[side]) for side in SPLITS if side in sides}
            for left, right in combinations(keys, 2):
                if count := len(np.intersect1d(keys[left], keys[right], assume_unique=True)):
                    found[owner, left, right] = count
        return found

    def notes(self, cause: str) -> list[str]:
        """Return what a user should know, a sentence each.

        Args:
            cause: why cases may lie on two sides.
        """
        told = []
        if found := self.on_two_sides():
            largest = sorted(found.items(), key=lambda item: (-item[1], item[0]))
            parts = [
                f"{count:,} of {', '.join(sorted(self._sources[owner]))} in {left} and {right}"
                for (owner, left, right), count in largest
            ]
            told.append(f"cases on two sides, by {cause}: {listed(parts, '; ')}")
        numberings = [owner for owner in self._cases if self._is_numbering(owner)]
        for group in shared(numberings):
            sources = sorted(source for owner in group for source in self._sources[owner])
            sides = [side for side in SPLITS if any(side in self._cases[o] for o in group)]
            told.append(
                f"{' and '.join(sources)} share patients under names of their own: "
                + (
                    f"all their images are in {sides[0]}"
                    if len(sides) == 1
                    else f"their images are in {' and '.join(sides)}, and patients may be in both"
                )
            )
        return told

    def _is_numbering(self, owner: str) -> bool:
        return any(numbering_of(source) is not None for source in self._sources[owner])


def listed(parts: Sequence[str], separator: str = ", ") -> str:
    """Return the first of some texts, and how many more there are."""
    more = len(parts) - _NAMED
    return separator.join(parts[:_NAMED]) + (f"{separator}and {more:,} more" if more > 0 else "")
