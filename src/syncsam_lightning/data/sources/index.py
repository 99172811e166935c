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

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, name: str) -> Entry | None:
        """Return the file of a name, None if there is none."""
        key = hash(name)
        at = int(np.searchsorted(self._keys, key))
        if at == len(self._keys) or self._keys[at] != key:
            return None
        _, size, offset, stored, crc, part, archive, method, flags = self._rows[
            self._order[at]
        ].tolist()
        if archive == _NO_POSITION:
            return Entry(name, size)
        return Entry(name, size, Position(archive, part, offset, stored, crc, method, flags))


_NOWHERE = Position(_NO_POSITION, 0, 0, 0, 0, 0, 0)
