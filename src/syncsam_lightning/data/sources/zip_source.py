"""A zip archive, of one file or many, read in place."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import BinaryIO

from syncsam_lightning.data.sources.limits import MAX_INFLATION, MAX_PADDING, MAX_READ
from syncsam_lightning.data.sources.source import Entry, Position, Source
from syncsam_lightning.data.sources.volumes import LostError, Volumes
from syncsam_lightning.data.sources.zip_directory import (
    ENCRYPTED,
    LOCAL_HEADER,
    decode_name,
    read_directory,
)
from syncsam_lightning.data.sources.zip_end import Directory
from syncsam_lightning.data.sources.zip_stream import DEFLATED, STORED, ZipStream
from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.records import Skipped

# Bytes of additions to a header that are expected; more of them cost a second read.
_LOCAL_EXTRA = 96
_CHUNK = 1 << 20


@dataclass(frozen=True)
class ZipSource:
    """A zip archive.

    Args:
        volumes: its parts.
        directory: where its directory lies.
        number: of the archive, where several are read as one release.
    """

    volumes: Volumes
    directory: Directory
    number: int = 0

    @property
    def path(self) -> str:
        """Path of the last part."""
        return self.volumes.parts[-1].path

    @property
    def name(self) -> str:
        """Name of the archive without ``.zip``."""
        return PurePosixPath(self.path).stem

    def where(self, name: str) -> str:
        """Return ``ARCHIVE::NAME``."""
        archive = self.volumes.storage.where(self.path)
        return f"{archive}::{name}" if name else archive

    def parts(self, marker: str) -> Sequence[Source]:
        """Return the archive."""
        return (self,)

    def entries(self) -> Iterator[Entry | Skipped]:
        """Yield the files in the order of the directory."""
        return read_directory(self.volumes, self.directory, self.number, self.where(""))

    def read(self, entry: Entry) -> bytes:
        """Return the bytes of a file."""
        if entry.size > MAX_READ:
            raise self._broken(entry, f"{entry.size} bytes are too many to read at once")
        position = self._checked(entry)
        head, start = self._head(entry, position, position.stored)
        data = head[start : start + position.stored]
        if len(data) < position.stored:
            data = self._bytes(entry, position, start + position.stored)[start:]
        if position.method == DEFLATED:
            data = self._inflated(entry, data)
        if len(data) != entry.size:
            raise self._broken(entry, f"it has {len(data)} bytes instead of {entry.size}")
        if zlib.crc32(data) != position.crc:
            raise self._broken(entry, "its checksum is wrong")
        return data

    def open(self, entry: Entry) -> BinaryIO:
        """Return a file to read once."""
        position = self._checked(entry)
        _, start = self._head(entry, position, 0)
        try:
            begin = self.volumes.advance(position.part, position.offset, start)
        except LostError as error:
            raise self._broken(entry, f"it cannot be read: {error}") from error
        stream = ZipStream(self.volumes, begin, entry, position, partial(self._broken, entry))
        return io.BufferedReader(stream, _CHUNK)

    def _checked(self, entry: Entry) -> Position:
        position = entry.position
        if position is None or position.archive != self.number:
            raise self._broken(entry, "it is no entry of this archive")
        if position.flags & ENCRYPTED:
            raise self._broken(entry, "it is encrypted")
        if position.method not in (STORED, DEFLATED):
            raise self._broken(
                entry,
                f"its compression {position.method} is not supported (stored and deflate are)",
            )
        is_deflated = position.method == DEFLATED
        if entry.size > position.stored * (MAX_INFLATION if is_deflated else 1):
            raise self._broken(
                entry, f"it declares {entry.size} bytes, which {position.stored} cannot hold"
            )
        if position.stored > entry.size + (MAX_PADDING + entry.size // 8 if is_deflated else 0):
            raise self._broken(
                entry, f"it declares {entry.size} bytes, for which {position.stored} are too many"
            )
        return position

    def _head(self, entry: Entry, position: Position, more: int) -> tuple[bytes, int]:
        """Return the header of a file with about ``more`` bytes of data, and where these start."""
        slack = len(entry.name.encode()) + _LOCAL_EXTRA + more
        head = self._bytes(entry, position, LOCAL_HEADER, slack=slack)
        length, extra = struct.unpack_from("<2H", head, LOCAL_HEADER - 4)
        start = LOCAL_HEADER + length + extra
        if head[:4] != b"PK\3\4":
            raise self._broken(entry, "it is not where the directory says")
        if start > len(head):
            head = self._bytes(entry, position, start)
        middle = LOCAL_HEADER + length
        name = decode_name(head[LOCAL_HEADER:middle], position.flags, head[middle:start])
        if name != entry.name:
            raise self._broken(entry, "another file is where the directory says that it is")
        return head, start

    def _bytes(self, entry: Entry, position: Position, count: int, slack: int = 0) -> bytes:
        try:
            return self.volumes.read(position.part, position.offset, count, slack=slack)
        except (LostError, OSError) as error:
            raise self._broken(entry, f"it cannot be read: {error}") from error

    def _inflated(self, entry: Entry, data: bytes) -> bytes:
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            # One byte more than declared, so that one too many is noticed and no more are made.
            inflated = inflater.decompress(data, entry.size + 1)
        except zlib.error as error:
            raise self._broken(entry, f"it cannot be inflated ({error})") from error
        if len(inflated) > entry.size:
            raise self._broken(entry, f"it has more than the {entry.size} bytes that it declares")
        return inflated

    def _broken(self, entry: Entry, reason: str) -> BrokenInputError:
        position = entry.position
        files = self.path
        if position is not None and position.part < len(self.volumes.parts):
            count = LOCAL_HEADER + position.stored
            files = self.volumes.names(position.part, position.offset, count)
        return BrokenInputError(entry.name, f"{reason} (stored in {files})")
