"""Rows of a table that are damaged: reading around them, and naming them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from syncsam_lightning.data.row import StoredRow
from syncsam_lightning.data.rows import Rows
from syncsam_lightning.errors import DamagedRowError


@dataclass(frozen=True, slots=True)
class DamagedRow:
    """A row that was asked for and can't be used.

    Args:
        index: position of the row in its split.
        reason: which row it is and what is wrong with it, in one sentence.
        valid: False for a row that was only to fill up a batch, and so is lost to nobody.
    """

    index: int
    reason: str
    valid: bool = True


def read_around_damage(rows: Rows, indices: Sequence[int]) -> list[StoredRow | DamagedRow]:
    """Return the rows at some indices, and for each that is damaged what is wrong with it.

    Rows are read in one request. Where that meets damage, each half is read by itself, and so on: a
    damaged row among n costs some 2 log2(n) requests more.

    Raises:
        TableError: the table as a whole can't be read.
    """
    try:
        return list(rows.read(indices))
    except DamagedRowError as error:
        if len(indices) == 1:
            return [DamagedRow(indices[0], str(error))]
    middle = len(indices) // 2
    return [
        *read_around_damage(rows, indices[:middle]),
        *read_around_damage(rows, indices[middle:]),
    ]
