"""The rows of a set (training, validation or test), wherever they lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from syncsam_lightning.data.row import StoredRow
from syncsam_lightning.data.table import Table


class Rows(Protocol):
    """A sequence of rows that is read many at a time. Picklable: loader workers get a copy."""

    def __len__(self) -> int: ...

    def read(self, indices: Sequence[int]) -> list[StoredRow]:
        """Return the rows at some indices, in the order asked for.

        Raises:
            DamagedRowError: a row is damaged or can't be read; the message names it, or those that
                were asked for together.
            TableError: the table as a whole can't be read.
        """
        ...


class TableRows:
    """Some rows of one table.

    Args:
        table: where they lie.
        offsets: their positions in the table.
        keeps_label: which masks to keep, by class name; None keeps all. Every row must have at
            least one that is kept.
    """

    def __init__(
        self,
        table: Table,
        offsets: np.ndarray,
        keeps_label: Callable[[str], bool] | None = None,
    ) -> None:
        self.table, self.offsets, self.keeps_label = table, offsets, keeps_label

    def __len__(self) -> int:
        return len(self.offsets)

    def read(self, indices: Sequence[int]) -> list[StoredRow]:
        """Return the rows at some indices, in one request.

        Raises:
            DamagedRowError: a row is damaged or can't be read; the message names it, or those that
                were asked for together.
            TableError: the table as a whole can't be read.
        """
        rows = self.table.rows(self.offsets[np.asarray(indices, np.int64)])
        keeps = self.keeps_label
        if keeps is None:
            return rows
        return [
            row.with_masks([index for index, label in enumerate(row.labels) if keeps(label)])
            for row in rows
        ]


class JoinedRows:
    """Several sequences of rows, one after the other.

    Args:
        parts: in order.
    """

    def __init__(self, parts: Sequence[Rows]) -> None:
        self.parts = tuple(parts)
        self._ends = np.cumsum([len(part) for part in self.parts])

    def __len__(self) -> int:
        return int(self._ends[-1]) if self.parts else 0

    def read(self, indices: Sequence[int]) -> list[StoredRow]:
        """Return the rows at some indices, in one request to each part that has some of them.

        Raises:
            DamagedRowError: a row is damaged or can't be read; the message names it, or those that
                were asked for together.
            TableError: the table as a whole can't be read.
        """
        wanted = np.asarray(indices, np.int64)
        parts = np.searchsorted(self._ends, wanted, side="right")
        found: dict[int, StoredRow] = {}
        for number in np.unique(parts).tolist():
            places = np.flatnonzero(parts == number)
            part = self.parts[number]
            begin = int(self._ends[number]) - len(part)
            rows = part.read((wanted[places] - begin).tolist())
            found |= dict(zip(places.tolist(), rows, strict=True))
        return [found[place] for place in range(len(wanted))]
