"""The parts of an archive as one address space, in which parts may be missing."""

from __future__ import annotations

from dataclasses import dataclass

from syncsam_lightning.data.sources.storage import Storage


class LostError(Exception):
    """Bytes that are not there because a part of the archive is missing or truncated."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an archive.

    Args:
        path: of its file.
        size: bytes, None if the file is missing.
        start: bytes of the file that come before the part.
    """

    path: str
    size: int | None
    start: int = 0


@dataclass(frozen=True, slots=True)
class Volumes:
    """The parts of an archive, in their order.

    Addresses are pairs (part, offset). An address at the very end of a part is the start of the
    next: archives are split such that entries are recorded there, on which other programs fail.

    Args:
        storage: where the files lie.
        parts: at least one.
    """

    storage: Storage
    parts: tuple[Part, ...]

    def advance(self, part: int, offset: int, count: int) -> tuple[int, int]:
        """Return the address ``count`` bytes after another.

        Raises:
            LostError: it lies in a part whose place is not known, or behind the last.
        """
        offset += count
        while offset > (size := self._size(part)):
            part, offset = part + 1, offset - size
        return part, offset

    def loss(self, part: int, offset: int, count: int) -> str:
        """Return why bytes cannot be there, judged by the sizes of the parts alone; else ``""``."""
        if part < len(self.parts) and offset + count <= (self.parts[part].size or 0):
            return ""
        try:
            if offset > self._size(part):
                raise self._beyond(part)
            self.advance(part, offset, count)
        except LostError as error:
            return str(error)
        return ""

    def read(self, part: int, offset: int, length: int, *, slack: int = 0) -> bytes:
        """Return ``length`` bytes and up to ``slack`` more.

        Raises:
            LostError: they are not there; the message names the part.
            OSError: the storage fails.
        """
        pieces: list[bytes] = []
        missing = length + slack
        while missing > 0:
            try:
                size = self._size(part)
                if offset > size:
                    raise self._beyond(part)
            except LostError:
                if missing <= slack:
                    break
                raise
            if count := min(missing, size - offset):
                place = self.parts[part]
                needed = max(0, min(count, missing - slack))
                piece = self.storage.read_at(
                    place.path, place.start + offset, needed, slack=count - needed
                )
                if len(piece) < needed:
                    raise LostError(f"{place.path} has become shorter while it was read")
                pieces.append(piece)
                missing -= len(piece)
                if len(piece) < count:
                    break
            part, offset = part + 1, 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def names(self, part: int, offset: int, length: int) -> str:
        """Return the files that hold a range of bytes, for messages.

        One that is shorter than the parts beside it is told: most likely it is cut off, and what
        seems to follow in the next part is wrong.
        """
        try:
            last, _ = self.advance(part, offset, length)
        except LostError:
            last = len(self.parts) - 1
        return " and ".join(
            f"{place.path}{self._shortness(place)}" for place in self.parts[part : last + 1]
        )

    def _shortness(self, place: Part) -> str:
        usual = max((part.size or 0 for part in self.parts[:-1]), default=0)
        if place is self.parts[-1] or place.size is None or place.size == usual:
            return ""
        return f" (which has {place.size:,} bytes where others have {usual:,}: download it again)"

    def _size(self, part: int) -> int:
        if part >= len(self.parts):
            raise LostError(f"it goes on after the end of {self.parts[-1].path}")
        size = self.parts[part].size
        if size is None:
            raise LostError(f"{self.parts[part].path} is missing; download it")
        return size

    def _beyond(self, part: int) -> LostError:
        place = self.parts[part]
        return LostError(
            f"{place.path} is truncated, it ends before it at {place.size} bytes; download it again"
        )
