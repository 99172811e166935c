"""Reading a prepared table."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from syncsam_lightning.data.lance_files import FAILURES, LanceTable, reason
from syncsam_lightning.data.location import TableLocation
from syncsam_lightning.data.row import StoredRow, stored_rows
from syncsam_lightning.data.schema import (
    CHECKSUM,
    FORMAT_KEY,
    FORMAT_VERSION,
    SETTINGS_KEY,
    TRAINABLE_SINCE,
    columns_of_format,
)
from syncsam_lightning.errors import DamagedRowError, DatasetNotFoundError, TableError
from syncsam_lightning.records import ImageRecord, Split


class Table:
    """A prepared table, on disk or in an object store, opened when it is first read.

    Safe to send to worker processes: they open it themselves. A process that was forked after the
    table was opened must not read it (crashes and hangs were seen), and is told so.

    Args:
        place: folder or URI of the table.
        storage_options: see :class:`~syncsam_lightning.data.location.TableLocation`.
    """

    def __init__(
        self,
        place: str | os.PathLike[str] | TableLocation,
        storage_options: Mapping[str, str] | None = None,
    ) -> None:
        self.location = TableLocation.parse(place, storage_options)
        self._opened: LanceTable | None = None
        self._format = 0
        self._pid = -1

    def __getstate__(self) -> dict[str, Any]:
        return {"location": self.location, "_opened": None, "_format": 0, "_pid": -1}

    def __str__(self) -> str:
        return self.location.uri

    @property
    def path(self) -> Path:
        """The folder of a local table.

        Raises:
            TableError: the table lies in an object store.
        """
        return self.location.path

    def exists(self) -> bool:
        """Whether there is a table at the place; one that can't be opened is there."""
        if not self.location.is_remote:
            return self.path.exists()
        try:
            return self.opened is not None
        except DatasetNotFoundError:
            return False

    @property
    def opened(self) -> LanceTable:
        """The open table, as the library sees it.

        Raises:
            DatasetNotFoundError: there is no table at the place.
            TableError: it is not one of ours, or of a newer format; or this process was forked.
        """
        if self._opened is None:
            self._opened, self._pid = self._open(), os.getpid()
        elif self._pid != os.getpid():
            raise TableError(
                f"{self} was opened before this process was forked: start workers with "
                "forkserver or spawn (the datamodules do)"
            )
        return self._opened

    def _open(self) -> LanceTable:
        if not self.location.is_remote and not self.path.exists():
            raise self._missing()
        try:
            table = LanceTable(self.location.uri, self.location.open_options())
        except FileNotFoundError as error:
            if self.location.is_remote:
                raise self._missing() from error
            raise TableError(
                f"{self} is there but is no table: remove it, or give another name"
            ) from error
        except FAILURES as error:
            raise TableError(f"{self} cannot be opened as a table: {reason(error)}") from error
        version = (table.schema.metadata or {}).get(FORMAT_KEY)
        if version is None:
            raise TableError(f"{self} is a Lance table, but was not made by syncsam prepare")
        self._format = _whole_number(version)
        if self._format < 1:
            raise TableError(f"{self} has format {version!r}, expected a number: prepare it again")
        if self._format > FORMAT_VERSION:
            raise TableError(
                f"{self} has format {self._format}, this version reads up to {FORMAT_VERSION}: "
                "update syncsam-lightning"
            )
        if missing := sorted(set(columns_of_format(self._format)) - set(table.schema.names)):
            raise TableError(f"{self} lacks the columns {', '.join(missing)}: prepare it again")
        return table

    def _missing(self) -> DatasetNotFoundError:
        return DatasetNotFoundError(
            f"no table at {self}: make it with `syncsam prepare PLUGIN SOURCE TABLE`"
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the table's format, see :mod:`syncsam_lightning.data.schema`.

        Raises:
            DatasetNotFoundError: there is no table at the place.
            TableError: it can't be opened.
        """
        return columns_of_format(self._format) if self.opened is not None else ()

    def __len__(self) -> int:
        with self._told("the number of rows"):
            return self.opened.count()

    @property
    def settings(self) -> dict[str, Any]:
        """What the table was prepared with.

        Raises:
            TableError: they are damaged.
        """
        with self._told("the settings"):
            settings = json.loads(self.opened.schema.metadata[SETTINGS_KEY])
            if not isinstance(settings, dict):
                raise ValueError(f"expected a mapping, got {type(settings).__name__}")
        return settings

    @property
    def is_of_earlier_version(self) -> bool:
        """Whether it was prepared by an earlier version, which may have read files otherwise.

        Raises:
            DatasetNotFoundError: there is no table at the place.
            TableError: it can't be opened.
        """
        return self.opened is not None and self._format < FORMAT_VERSION

    def check_trainable(self) -> None:
        """Make sure that masks of its training rows lie where their images have them.

        Raises:
            TableError: they don't, or the table can't be opened.
        """
        if self.opened is not None and self._format < TRAINABLE_SINCE:
            raise TableError(
                f"{self} has format {self._format}, whose training masks lie up to half a pixel "
                "off their images: to train, prepare it again (remove it, or give another "
                "data.table, and run the same command); for validation and testing it serves"
            )

    @property
    def written(self) -> datetime:
        """When the table was written, in local time.

        Raises:
            TableError: it can't be read.
        """
        with self._told("the date"):
            return self.opened.written

    def offsets(self, split: Split) -> np.ndarray:
        """Return the positions of the rows of a split, ascending, int64."""
        splits = [batch.column("split").to_numpy(False) for batch in self.scan(["split"])]
        return np.flatnonzero(np.concatenate(splits) == split) if splits else np.zeros(0, np.int64)

    def ids(self, offsets: np.ndarray) -> list[str]:
        """Return the ids of some rows.

        Raises:
            TableError: they can't be read.
        """
        with self._told("the ids"):
            taken = self.opened.take([int(offset) for offset in offsets], ["id"])
            return [str(name) for name in taken["id"].to_pylist()]

    def scan(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield some columns of all rows in the order of their positions, batch by batch.

        Raises:
            TableError: the table can't be read.
        """
        with self._told(f"the columns {', '.join(columns)}"):
            yield from self.opened.scan(columns)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Say of what reading failed."""
        try:
            yield
        except FAILURES as error:
            raise TableError(f"{what} of {self} cannot be read: {reason(error)}") from error

    def rows(self, offsets: Sequence[int] | np.ndarray) -> list[StoredRow]:
        """Read rows by position, in one request, in the order asked for; pixels stay encoded.

        Raises:
            DamagedRowError: a row is damaged or can't be read; the message names it, or those that
                were asked for together.
            TableError: the table as a whole can't be read.
            DatasetNotFoundError: the table was removed since it was opened.
        """
        positions = [int(offset) for offset in offsets]
        try:
            return self._take(positions)
        except FAILURES as error:
            self._check_place(error)
            raise self._unreadable(positions, error) from error

    def read(self, offsets: Sequence[int] | np.ndarray) -> list[ImageRecord]:
        """Read and decode rows by position, in one request, in the order asked for.

        Raises:
            DamagedRowError: a row is damaged or can't be read; the message names it, or those that
                were asked for together.
            TableError: the table as a whole can't be read.
            DatasetNotFoundError: the table was removed since it was opened.
        """
        return [row.record() for row in self.rows(offsets)]

    def _take(self, positions: list[int]) -> list[StoredRow]:
        columns = self.columns
        taken = self.opened.take(positions, columns)
        # Offsets that don't fit would be followed out of bounds when values are looked at.
        taken.validate(full=True)
        names = [f"row {position} of {self}" for position in positions]
        rows = list(stored_rows(taken, names))
        for row in rows:
            if {len(row.labels), len(row.boxes), len(row.areas), len(row.mask_ids)} != {
                row.num_masks
            }:
                raise row.damaged("its lists differ in length")
        if CHECKSUM in columns:
            for row, expected in zip(rows, taken[CHECKSUM].to_pylist(), strict=True):
                if row.checksum() != expected:
                    raise row.damaged("its checksum differs")
        return rows

    def _unreadable(self, positions: list[int], error: BaseException) -> TableError:
        """Return the error that names the rows which can't be read together."""
        some = ", ".join(map(str, positions[:5])) + (", ..." if len(positions) > 5 else "")
        noun = "row" if len(positions) == 1 else "rows"
        message = f"{noun} {some} of {self} cannot be read: {reason(error)}"
        # What an object store can't give now may be there in a minute: that is no damage.
        return TableError(message) if self.location.is_remote else DamagedRowError(message)

    def _check_place(self, error: BaseException) -> None:
        """Raise if it is the whole table that can't be read (any more)."""
        if self.location.is_remote:
            return
        if not self.path.exists():
            raise DatasetNotFoundError(
                f"{self} was there when it was opened and is not any more: put it back, and go on "
                "with --ckpt_path last"
            ) from error
        if "ermission denied" in str(error):
            raise TableError(
                f"{self} may not be read ({reason(error)}): give this user the right to read its "
                "folder and the files in it"
            ) from error


def _whole_number(text: bytes) -> int:
    """Return a number out of a table's metadata, 0 if it is none."""
    return int(text) if text.isdigit() and len(text) < 10 else 0
