"""What every release looks like to those who read it: named files in the order of storage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple, Protocol

from syncsam_lightning.records import Skipped


class Position(NamedTuple):
    """Where a file lies in an archive.

    Args:
        archive: number of the archive, of several that are read as one release.
        part: number of the part of the archive in which the file starts.
        offset: bytes from the start of that part to the file's header.
        stored: bytes that the compressed file takes.
        crc: CRC-32 of the file.
        method: of compression, as archives number them.
        flags: of the file, as archives number them.
    """

    archive: int
    part: int
    offset: int
    stored: int
    crc: int
    method: int
    flags: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a release.

    Args:
        name: path inside the release, separated by ``/``; never leaves it.
        size: bytes.
        position: where it lies in an archive; None for a file of its own.
    """

    name: str
    size: int
    position: Position | None = None

    def __reduce__(self) -> tuple[type[Entry], tuple[str, int, Position | None]]:
        # Millions are sent to worker processes; the way of slotted dataclasses takes twice as long.
        return Entry, (self.name, self.size, self.position)


class Source(Protocol):
    """A release: picklable, and opened lazily in each process."""

    @property
    def name(self) -> str:
        """Name of the folder or the archive, without what tells its kind."""
        ...

    def where(self, name: str) -> str:
        """Return the full address of a file, for messages."""
        ...

    def entries(self) -> Iterator[Entry | Skipped]:
        """Yield the files in the order in which they are stored, and what can't be read of them.

        Raises:
            BrokenInputError: the directory of the only archive is damaged.
        """
        ...

    def read(self, entry: Entry) -> bytes:
        """Return the bytes of a file.

        Raises:
            BrokenInputError: they are not there, not those that were stored, or more than
                :data:`~syncsam_lightning.data.sources.limits.MAX_READ`; its path is the entry's
                name.
        """
        ...

    def open(self, entry: Entry) -> BinaryIO:
        """Return a file to read once from start to end, however large; close it afterwards.

        Reading raises :class:`BrokenInputError` like :meth:`read`, for a wrong checksum when the
        end is reached.
        """
        ...

    def parts(self, marker: str) -> Sequence[Source]:
        """Return what can be looked through one after the other, to keep little in memory.

        Those are archives, and of a tree its folders.

        Args:
            marker: name of a file; a tree that has it at its top is not taken apart.
        """
        ...
