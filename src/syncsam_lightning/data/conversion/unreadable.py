"""When a release is too damaged to go on with."""

from __future__ import annotations

from collections.abc import Iterable

from syncsam_lightning.errors import LOST, ConversionError
from syncsam_lightning.records import Skipped

_NEVER_TOO_MANY = 10
_EXAMPLES = 3


class UnreadableFiles:
    """Counts the files of a stage that are lost, and stops where there are too many.

    Lost is what can't be read or is not there, see :data:`~syncsam_lightning.errors.LOST`. A part
    that is missing from an archive, or a download that broke off, would otherwise give a
    table that lacks a tenth of the release, and tell so only in the report.

    Args:
        allowed: share of the items; up to ten files are always let pass.
        total: number of items in the stage; None: not known before its end.
        items: what they are, for the message.
    """

    def __init__(self, allowed: float, total: int | None, items: str) -> None:
        self._allowed, self._total, self._items = allowed, total, items
        self._seen = self._count = 0
        self._examples: list[Skipped] = []

    def add(self, size: int, skipped: Iterable[Skipped] = ()) -> None:
        """Count a unit.

        Args:
            size: number of items in it.
            skipped: what could not be used.

        Raises:
            ConversionError: so many could not be read that the rest of the stage can't make up for
                it.
        """
        self._seen += size
        for skip in skipped:
            if skip.kind in LOST:
                self._count += 1
                if len(self._examples) < _EXAMPLES:
                    self._examples.append(skip)
        if self._total is not None:
            self._check(max(self._total, self._seen))

    def close(self) -> None:
        """Check the whole stage.

        Raises:
            ConversionError: too many could not be read.
        """
        self._check(self._seen)

    def _check(self, total: int) -> None:
        if self._count <= max(_NEVER_TOO_MANY, self._allowed * total):
            return
        examples = "; ".join(f"{skip.path}: {skip.reason}" for skip in self._examples)
        raise ConversionError(
            f"{self._count:,} files could not be read or are not there, which is more than "
            f"max_unreadable = {self._allowed:g} allows for {total:,} {self._items}; the first: "
            f"{examples}. Is the release whole? When it is mended, the same command goes on and "
            "tries them again; a larger max_unreadable goes on without them"
        )
