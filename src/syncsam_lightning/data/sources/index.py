"""Finding files by name among millions, in a few bytes each."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np

from syncsam_lightning.data.sources.source import Entry, Position

# As little as a name's key and a position take: 48 bytes.
_ROW = struct.Struct("<qqqqIIHHHxx")
_DTYPE = np.dtype(
    {
        "names": ["key", "size", "offset", "stored", "crc", "part", "archive", "method", "flags"],
        "formats": ["<i8", "<i8", "<i8", "<i8", "<u4", "<u4", "<u2", "<u2", "<u2"],
        "itemsize": _ROW.size,
    }
)
_NO_POSITION = 0xFFFF


class EntryIndex:
    """The files of a release by name, without the names: 48 bytes each.

    What is found by the key of a name is checked against the name in the file's header when it is
    read, so two names of one key can't be taken for each other. Belongs to one process: keys differ
    between processes.

    Args:
        entries: of names that differ; of the same name the first is found.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        packed = bytearray()
        for entry in entries:
            archive, part, offset, stored, crc, method, flags = entry.position or _NOWHERE
            packed += _ROW.pack(
                hash(entry.name), entry.size, offset, stored, crc, part, archive, method, flags
            )
        rows = np.frombuffer(packed, _DTYPE)
        self._order = np.argsort(rows["key"], kind="stable")
        self._keys = rows["key"][self._order]
        self._rows = rows
        self._asked = np.zeros(len(rows), dtype=bool)

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, name: str) -> Entry | None:
        """Return the file of a name, None if there is none, and note that it was asked for."""
        row = self._row(name)
        if row is None:
            return None
        self._asked[row] = True
        return self._entry(name, row)

    def was_asked_for(self, name: str) -> bool:
        """Return whether there is such a file and :meth:`find` returned it before."""
        row = self._row(name)
        return row is not None and bool(self._asked[row])

    def is_first(self, entry: Entry) -> bool:
        """Return whether an entry is what is found by its name."""
        row = self._row(entry.name)
        return row is not None and self._entry(entry.name, row) == entry

    def _row(self, name: str) -> int | None:
        key = hash(name)
        at = int(np.searchsorted(self._keys, key))
        if at == len(self._keys) or self._keys[at] != key:
            return None
        return int(self._order[at])

    def _entry(self, name: str, row: int) -> Entry:
        _, size, offset, stored, crc, part, archive, method, flags = self._rows[row].tolist()
        if archive == _NO_POSITION:
            return Entry(name, size)
        return Entry(name, size, Position(archive, part, offset, stored, crc, method, flags))


_NOWHERE = Position(_NO_POSITION, 0, 0, 0, 0, 0, 0)
