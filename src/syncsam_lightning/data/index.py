"""What is needed of every row to choose, weigh and recognise rows."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from syncsam_lightning.data.schema import CHECKSUM
from syncsam_lightning.data.table import Table
from syncsam_lightning.errors import TableError
from syncsam_lightning.records import SPLITS, Split


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A text column with few distinct values.

    Args:
        values: the distinct values, sorted.
        codes: ``(rows,)`` int32, position in ``values`` of each row.
    """

    values: tuple[str, ...]
    codes: np.ndarray

    def among(self, wanted: frozenset[str]) -> np.ndarray:
        """Return ``(rows,)`` bool: whether the row's value is one of those wanted."""
        found: np.ndarray = np.array([value in wanted for value in self.values], bool)[self.codes]
        return found

    def present(self, rows: np.ndarray) -> tuple[str, ...]:
        """Return the values, sorted, that some of the ``(rows,)`` bool rows have."""
        return tuple(self.values[code] for code in np.unique(self.codes[rows]).tolist())


@dataclass(frozen=True, slots=True)
class TableIndex:
    """The columns by which rows are chosen: four bytes a row and column, whatever the texts.

    Args:
        split, modality, source: of the rows.
        checksums: ``(rows,)`` uint32, see :meth:`syncsam_lightning.data.row.StoredRow.checksum`; of
            tables that have none, that of the row's id.
    """

    split: TextColumn
    modality: TextColumn
    source: TextColumn
    checksums: np.ndarray

    @classmethod
    def read(cls, table: Table) -> TableIndex:
        """Read the columns in one pass.

        Raises:
            TableError: the table can't be read, or has a split that doesn't exist.
        """
        names = ("split", "modality", "source")
        codings = {name: _Coding() for name in names}
        mark = CHECKSUM if CHECKSUM in table.columns else "id"
        checksums = [np.zeros(0, np.uint32)]
        for batch in table.scan([*names, mark]):
            for name in names:
                codings[name].add(batch.column(name))
            checksums.append(_checksums(batch.column(mark)))
        columns = {name: coding.column() for name, coding in codings.items()}
        index = cls(**columns, checksums=np.concatenate(checksums))
        if unknown := sorted(set(index.split.values) - set(SPLITS)):
            row = int(np.argmax(index.split.among(frozenset(unknown))))
            raise TableError(
                f"row {row} of {table} is of split {unknown[0]!r}, which is none of "
                f"{', '.join(SPLITS)}: prepare the table again"
            )
        return index

    def in_split(self, split: Split) -> np.ndarray:
        """Return ``(rows,)`` bool: whether the row is of a split."""
        return self.split.among(frozenset([split]))


def _checksums(column: pa.Array) -> np.ndarray:
    if pa.types.is_integer(column.type):
        numbers: np.ndarray = column.fill_null(0).to_numpy(zero_copy_only=False)
        return numbers.astype(np.uint32)
    return np.array([zlib.crc32((text or "").encode()) for text in column.to_pylist()], np.uint32)


class _Coding:
    """Numbers texts in the order of their first appearance, batch by batch."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._codes: list[np.ndarray] = []

    def add(self, column: pa.Array) -> None:
        encoded = column.dictionary_encode()
        texts = encoded.dictionary.to_pylist()
        numbers = [self._numbers.setdefault(text, len(self._numbers)) for text in texts]
        self._codes.append(np.array(numbers, np.int32)[encoded.indices.to_numpy()])

    def column(self) -> TextColumn:
        values = tuple(sorted(self._numbers))
        places = np.empty(len(values), np.int32)
        for place, value in enumerate(values):
            places[self._numbers[value]] = place
        codes = np.concatenate(self._codes) if self._codes else np.zeros(0, np.int32)
        return TextColumn(values, places[codes])


def rows_with_labels(
    table: Table, keeps: Callable[[str], bool]
) -> tuple[np.ndarray, frozenset[str]]:
    """Find the rows with at least one mask of some classes, in one pass of bounded memory.

    Args:
        table: to look in.
        keeps: whether a class is wanted.

    Returns:
        ``(rows,)`` bool, and the names of all classes in the table.

    Raises:
        TableError: the table can't be read.
    """
    kept: list[np.ndarray] = []
    seen: set[str] = set()
    for batch in table.scan(["labels"]):
        column = batch.column("labels")
        encoded = column.flatten().dictionary_encode()
        labels = encoded.dictionary.to_pylist()
        seen.update(labels)
        wanted = np.array([keeps(label) for label in labels], bool)[encoded.indices.to_numpy()]
        bounds = column.offsets.to_numpy() - column.offsets[0].as_py()
        counts = np.concatenate([[0], np.cumsum(wanted)])[bounds]
        kept.append(np.diff(counts) > 0)
    return np.concatenate(kept) if kept else np.zeros(0, bool), frozenset(seen)
