"""Where the files of an archive lie that are asked for, and in which pieces to read them."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from syncsam_lightning.data.sources.source import Entry
from syncsam_lightning.data.sources.volumes import Volumes
from syncsam_lightning.data.sources.zip_directory import LOCAL_HEADER
from syncsam_lightning.records import Skipped

# What a header may hold beside the name, and what may follow the data: where another file follows
# closer than this, the bytes up to it belong to the file before.
_SLACK, _FARTHEST = 96, 4096
_PIECE = 8 << 20
_WASTE = 0.1
_LARGEST_GAP = 1 << 20


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive bytes of a part of an archive.

    Args:
        path: of the part's file.
        begin, end: offsets in that file.
    """

    path: str
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Spans:
    """Bytes of an archive.

    Args:
        files: how many files they are.
        needed: bytes of these, headers included.
        pieces: what to read for them, in order.
    """

    files: int
    needed: int
    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        """Bytes of the pieces."""
        return sum(piece.end - piece.begin for piece in self.pieces)


def spans_of(
    volumes: Volumes, entries: Iterable[Entry | Skipped], wanted: Callable[[str], bool]
) -> Spans:
    """Find the bytes of files.

    The bytes between two files are read with them where that is cheaper than to ask twice, as long
    as all of these take less than a tenth of what is needed.

    Args:
        volumes: of the archive.
        entries: all of its directory, in the order of storage.
        wanted: tells by its name whether a file is asked for.
    """
    bases = np.cumsum([0, *(part.size or 0 for part in volumes.parts)]).tolist()
    begins, ends = array("q"), array("q")
    open_end = -1  # of the wanted file before, as far as it is certain
    for entry in entries:
        position = entry.position if isinstance(entry, Entry) else None
        begin = -1 if position is None else bases[position.part] + position.offset
        if open_end >= 0:
            follows = open_end <= begin <= open_end + _FARTHEST
            ends.append(begin if follows else min(open_end + _SLACK, bases[-1]))
        open_end = -1
        if isinstance(entry, Entry) and position is not None and wanted(entry.name):
            begins.append(begin)
            open_end = begin + LOCAL_HEADER + len(entry.name.encode()) + position.stored
    if open_end >= 0:
        ends.append(min(open_end + _SLACK, bases[-1]))
    needed = sum(ends) - sum(begins)
    runs = _joined(np.frombuffer(begins, np.int64), np.frombuffer(ends, np.int64))
    return Spans(len(begins), needed, tuple(_cut(volumes, bases, runs)))


def piece_at(volumes: Volumes, part: int, offset: int, length: int) -> tuple[Piece, ...]:
    """Return the pieces of a range of an archive that begins in a part."""
    bases = np.cumsum([0, *(one.size or 0 for one in volumes.parts)]).tolist()
    begin = bases[part] + offset
    return tuple(_cut(volumes, bases, [(begin, min(begin + length, bases[-1]))]))


def _joined(begins: np.ndarray, ends: np.ndarray) -> list[tuple[int, int]]:
    """Return runs of files, the smallest gaps closed first."""
    if not len(begins):
        return []
    order = np.argsort(begins, kind="stable")
    begins, ends = begins[order], np.maximum.accumulate(ends[order])
    gaps = np.maximum(begins[1:] - ends[:-1], 0)
    by_size = np.argsort(gaps, kind="stable")
    allowed = np.cumsum(gaps[by_size]) <= _WASTE * float((ends - begins).sum())
    closed = np.zeros(len(gaps), bool)
    closed[by_size[allowed]] = True
    closed &= gaps <= _LARGEST_GAP
    firsts = np.flatnonzero(np.r_[True, ~closed])
    lasts = np.r_[firsts[1:] - 1, len(begins) - 1]
    return list(zip(begins[firsts].tolist(), ends[lasts].tolist(), strict=True))


def _cut(volumes: Volumes, bases: list[int], runs: Iterable[tuple[int, int]]) -> Iterator[Piece]:
    """Yield runs cut where parts end, and into pieces that fit into memory."""
    for begin, end in runs:
        while begin < end:
            part = int(np.searchsorted(bases, begin, "right")) - 1
            place = volumes.parts[part]
            until = min(end, bases[part + 1], begin + _PIECE)
            start = place.start - bases[part]
            yield Piece(place.path, start + begin, start + until)
            begin = until
