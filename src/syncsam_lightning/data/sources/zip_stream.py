"""A file of a zip archive as a stream, for those that don't fit into memory."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from syncsam_lightning.data.sources.source import Entry, Position
from syncsam_lightning.data.sources.volumes import LostError, Volumes
from syncsam_lightning.errors import BrokenInputError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

STORED, DEFLATED = 0, 8
_CHUNK = 1 << 18


class ZipStream(io.RawIOBase):
    """Inflates while it is read, and checks size and checksum at the end.

    Args:
        volumes: the parts of the archive.
        begin: address of the file's data.
        entry: the file.
        position: of the file.
        broken: makes the error for a reason.
    """

    def __init__(
        self,
        volumes: Volumes,
        begin: tuple[int, int],
        entry: Entry,
        position: Position,
        broken: Callable[[str], BrokenInputError],
    ) -> None:
        self._volumes, self._address = volumes, begin
        self._left, self._size = position.stored, entry.size
        self._expected_crc, self._crc, self._done = position.crc, 0, 0
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS) if position.method else None
        self._waiting = b""
        self._broken = broken

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill a buffer as far as it goes.

        Raises:
            BrokenInputError: the data are not there or damaged.
        """
        view = memoryview(buffer).cast("B")
        data = self._next(len(view))
        view[: len(data)] = data
        self._done += len(data)
        self._crc = zlib.crc32(data, self._crc)
        if self._done > self._size:
            raise self._broken(f"it has more than the {self._size} bytes that it declares")
        if not data and len(view):
            self._check_end()
        return len(data)

    def _next(self, most: int) -> bytes:
        while True:
            if not self._waiting and self._left:
                self._waiting = self._fetch()
            if self._inflater is None:
                data, self._waiting = self._waiting[:most], self._waiting[most:]
                return data
            try:
                data = self._inflater.decompress(self._waiting, most)
            except zlib.error as error:
                raise self._broken(f"it cannot be inflated ({error})") from error
            self._waiting = self._inflater.unconsumed_tail
            if data or self._inflater.eof or not (self._waiting or self._left):
                return data

    def _fetch(self) -> bytes:
        count = min(self._left, _CHUNK)
        try:
            data = self._volumes.read(*self._address, count)
            self._address = self._volumes.advance(*self._address, count)
        except (LostError, OSError) as error:
            raise self._broken(f"it cannot be read: {error}") from error
        self._left -= count
        return data

    def _check_end(self) -> None:
        if self._done != self._size:
            raise self._broken(f"it has {self._done} bytes instead of {self._size}")
        if self._crc != self._expected_crc:
            raise self._broken("its checksum is wrong")
