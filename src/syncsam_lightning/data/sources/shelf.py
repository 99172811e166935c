"""Bytes out of the middle of files that lie elsewhere, kept on this machine."""

from __future__ import annotations

import json
import logging
import os
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import numpy as np

from syncsam_lightning.whole_files import whole_file

log = logging.getLogger(__name__)

# Of a range: where it begins in the file and here, its length, and its CRC-32.
_RECORD = struct.Struct("<qqqq")
_PIECE = 1 << 20
_UNWRITTEN, _SECONDS = 16 << 20, 2.0


class Shelf:
    """Ranges of files, each kept once.

    Of each file there are ``NAME.bytes``, to which ranges are appended, and ``NAME.ranges``, which
    says what lies there. A range counts when its bytes have reached the disk, so what a kill or a
    power cut leaves half written is written again. One process at a time may add.

    Args:
        folder: is made when something is added.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, _Ranges] = {}

    def __reduce__(self) -> tuple[type[Shelf], tuple[Path]]:
        return type(self), (self.folder,)

    def _path(self, name: str, ending: str) -> Path:
        return self.folder / f"{quote(name, safe='')}.{ending}"

    def expect(self, name: str, version: str) -> bool:
        """Forget a file of which another version is kept, and what of it is damaged.

        Args:
            name: of the file.
            version: tells the one that will be added from others.

        Returns:
            whether something was forgotten.
        """
        path = self._path(name, "json")
        try:
            kept = json.loads(path.read_bytes())
        except (OSError, ValueError):
            kept = None
        if kept == version:
            self._check(name)
            return False
        is_other = self._path(name, "ranges").exists()
        # What the ranges mean goes first: bytes of another version must never be found by them.
        for ending in ("ranges", "bytes"):
            self._path(name, ending).unlink(missing_ok=True)
        self._known.pop(name, None)
        self.folder.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write(json.dumps(version).encode())
        return is_other

    def _check(self, name: str) -> None:
        data, ranges = self._path(name, "bytes"), self._path(name, "ranges")
        table = _believable(data, ranges)
        whole = np.zeros(len(table), bool)
        if len(table):
            with data.open("rb") as file:
                for at, (_, place, length, crc) in enumerate(table.tolist()):
                    whole[at] = _crc(file, place, length) == crc
        if _rewrite(ranges, table[whole]):
            log.warning("%s: what is damaged there is read again", data)
        self._known.pop(name, None)

    def missing(self, name: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield begin and end of what is not kept of a range."""
        for first, last in self._ranges(name).within(begin, end):
            if begin < first:
                yield begin, first
            begin = max(begin, last)
        if begin < end:
            yield begin, end

    def read(self, name: str, offset: int, length: int) -> bytes:
        """Return what is kept from an offset on without a gap, ``length`` bytes at most."""
        ranges = self._ranges(name)
        pieces = []
        while length > 0 and (found := ranges.at(offset)):
            place, there = found
            piece = ranges.read(place, min(there, length))
            if not piece:  # somebody cut the file
                break
            pieces.append(piece)
            offset, length = offset + len(piece), length - len(piece)
        return b"".join(pieces)

    @contextmanager
    def adding(self, name: str) -> Iterator[Adder]:
        """Give what adds ranges of a file; they count at the end, however that comes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        adder = Adder(self._path(name, "bytes"), self._path(name, "ranges"))
        try:
            yield adder
        finally:
            adder.close()
            self._known.pop(name, None)

    def forget(self) -> None:
        """Look at the folder anew when something is asked for next."""
        self._known.clear()

    def _ranges(self, name: str) -> _Ranges:
        if name not in self._known:
            self._known[name] = _Ranges.load(self._path(name, "bytes"), self._path(name, "ranges"))
        return self._known[name]


class Adder:
    """Appends ranges of one file, see :meth:`Shelf.adding`."""

    def __init__(self, data: Path, ranges: Path) -> None:
        # What is added must not come to lie where a record of lost bytes points.
        _rewrite(ranges, _believable(data, ranges))
        self._data, self._records = _appending(data), _appending(ranges)
        self._waiting = bytearray()
        self._unwritten, self._written = 0, time.monotonic()

    def add(self, begin: int, data: bytes) -> None:
        """Add a range that begins at an offset and of which nothing is kept yet."""
        record = begin, self._data.tell(), len(data), zlib.crc32(data)
        self._waiting += _RECORD.pack(*record)
        self._data.write(data)
        self._unwritten += len(data)
        if self._unwritten > _UNWRITTEN or time.monotonic() - self._written > _SECONDS:
            self._write()

    def _write(self) -> None:
        # Bytes before the records that tell of them.
        for file, data in ((self._data, b""), (self._records, bytes(self._waiting))):
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        self._waiting.clear()
        self._unwritten, self._written = 0, time.monotonic()

    def close(self) -> None:
        """Let all count that was added."""
        try:
            self._write()
        finally:
            self._data.close()
            self._records.close()


def _appending(path: Path) -> BinaryIO:
    file = path.open("r+b" if path.exists() else "w+b")
    file.seek(0, os.SEEK_END)
    return file


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _rewrite(ranges: Path, table: np.ndarray) -> bool:
    """Let some records be all that count, and tell whether there were others."""
    if table.tobytes() == _content(ranges):
        return False
    with whole_file(ranges) as file:
        file.write(table.tobytes())
    return True


def _crc(file: BinaryIO, place: int, length: int) -> int:
    file.seek(place)
    crc = 0
    while length > 0 and (piece := file.read(min(length, _PIECE))):
        crc, length = zlib.crc32(piece, crc), length - len(piece)
    return crc


def _believable(data: Path, ranges: Path) -> np.ndarray:
    """Return ``(n, 4)`` records of bytes that are there: the folder is anybody's to tidy."""
    raw = _content(ranges)
    table = np.frombuffer(raw[: len(raw) // _RECORD.size * _RECORD.size], "<i8").reshape(-1, 4)
    size = data.stat().st_size if data.exists() else 0
    begins, places, lengths, _ = table.T
    # Written so that no sum overflows.
    is_there = (begins >= 0) & (places >= 0) & (lengths > 0) & (places <= size - lengths)
    return table[is_there]


@dataclass(slots=True)
class _Ranges:
    """What is kept of one file, in its order."""

    path: Path
    begins: np.ndarray
    places: np.ndarray
    lengths: np.ndarray
    _file: BinaryIO | None = field(default=None)

    @classmethod
    def load(cls, data: Path, ranges: Path) -> _Ranges:
        table = _believable(data, ranges)
        table = table[np.argsort(table[:, 0], kind="stable")]
        return cls(data, *np.ascontiguousarray(table.T[:3]))

    def within(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield begin and end of the ranges that overlap another."""
        first = max(0, int(np.searchsorted(self.begins, begin, "right")) - 1)
        last = int(np.searchsorted(self.begins, end, "left"))
        for at in range(first, last):
            start = int(self.begins[at])
            if start + int(self.lengths[at]) > begin:
                yield start, start + int(self.lengths[at])

    def at(self, offset: int) -> tuple[int, int] | None:
        """Return where a byte is kept, and how many are from there on; None if it isn't."""
        at = int(np.searchsorted(self.begins, offset, "right")) - 1
        if at < 0 or (after := offset - int(self.begins[at])) >= int(self.lengths[at]):
            return None
        return int(self.places[at]) + after, int(self.lengths[at]) - after

    def read(self, place: int, length: int) -> bytes:
        if self._file is None:
            self._file = self.path.open("rb", buffering=0)
        return os.pread(self._file.fileno(), length, place)
