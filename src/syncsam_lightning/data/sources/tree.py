"""An unpacked release, on this machine or on an object store."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO

from syncsam_lightning.data.sources.limits import MAX_READ
from syncsam_lightning.data.sources.names import why_unsafe
from syncsam_lightning.data.sources.source import Entry, Source
from syncsam_lightning.data.sources.storage import OpenFile, OutsideError, Storage
from syncsam_lightning.errors import FOLDER_UNREADABLE, UNREADABLE, BrokenInputError
from syncsam_lightning.records import Skipped

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Tree:
    """A folder and all below it, in the order of names.

    Listing takes as much memory as the names in the largest folder.

    Args:
        storage: where the files lie.
        folder: in the storage, ``""`` for its top. Names of entries start with it.
        deep: whether folders in the folder are read too.
    """

    storage: Storage
    folder: str = ""
    deep: bool = True

    @property
    def name(self) -> str:
        """Name of the folder."""
        return PurePosixPath(self.storage.where(self.folder)).name

    def where(self, name: str) -> str:
        """Return the full path or the address of a file."""
        return self.storage.where(name or self.folder)

    def parts(self, marker: str) -> Sequence[Source]:
        """Return the tree, or the folders at its top where ``marker`` is not."""
        found = self.storage.list(self.folder)
        folders = [Tree(self.storage, _join(self.folder, i.name)) for i in found if i.is_folder]
        if not folders or any(item.name == marker for item in found):
            return (self,)
        return [Tree(self.storage, self.folder, deep=False), *folders]

    def find(self, name: str) -> Entry | Skipped | None:
        """Return the file of a name without listing its folder, which may hold millions.

        Returns:
            the file, why it can't be read, or None if there is none.
        """
        if reason := why_unsafe(name):
            return Skipped(name, reason, kind="unsafe name")
        try:
            return Entry(name, self.storage.size(name))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OutsideError as error:
            return Skipped(name, str(error), kind="unsafe name")
        except OSError as error:
            return Skipped(name, f"it cannot be read: {error}", kind=UNREADABLE)

    def entries(self) -> Iterator[Entry | Skipped]:
        """Yield the files of every folder by name, and those of its folders."""
        return self.below(self.folder)

    def below(self, folder: str) -> Iterator[Entry | Skipped]:
        """Yield the files of one folder and those below it, however deep."""
        walks = [self._items(folder)]
        while walks:
            found = next(walks[-1], None)
            if found is None:
                walks.pop()
            elif not isinstance(found, str):
                yield found
            elif self.deep:
                walks.append(self._items(found))

    def _items(self, folder: str) -> Iterator[Entry | Skipped | str]:
        """Yield what lies in one folder, of folders the names."""
        try:
            found = self.storage.list(folder)
        except OSError as error:
            yield Skipped(folder, f"the folder cannot be listed: {error}", kind=FOLDER_UNREADABLE)
            return
        for item in found:
            name = _join(folder, item.name)
            if reason := item.trouble or why_unsafe(item.name):
                yield Skipped(name, reason, kind="unsafe name")
            else:
                yield name if item.is_folder else Entry(name, item.size)

    def read(self, entry: Entry) -> bytes:
        """Return the bytes of a file."""
        if entry.size > MAX_READ:
            raise BrokenInputError(entry.name, f"{entry.size} bytes are too many to read at once")
        self._check(entry)
        try:
            # One more than expected, to notice a file that has grown since it was listed.
            data = self.storage.read(entry.name, entry.size + 1)
        except OSError as error:
            raise BrokenInputError(entry.name, f"it cannot be read: {error}") from error
        if len(data) != entry.size:
            raise BrokenInputError(
                entry.name, f"its size is not the {entry.size} bytes that it was listed with"
            )
        return data

    def open(self, entry: Entry) -> BinaryIO:
        """Return a file to read once."""
        self._check(entry)
        try:
            file = self.storage.open(entry.name)
        except OSError as error:
            raise BrokenInputError(entry.name, f"it cannot be read: {error}") from error
        return io.BufferedReader(_FileStream(file, entry), _CHUNK)

    @staticmethod
    def _check(entry: Entry) -> None:
        if entry.position is not None or why_unsafe(entry.name):
            raise BrokenInputError(entry.name, "it is no file of this folder")


class _FileStream(io.RawIOBase):
    """A file read from start to end; the stream that is closed lets go of it."""

    def __init__(self, file: OpenFile, entry: Entry) -> None:
        self._file: OpenFile | None = file
        self._entry, self._at = entry, 0

    def readable(self) -> bool:
        return True

    def readall(self) -> bytes:
        return b"".join(iter(lambda: self.read(_CHUNK) or b"", b""))

    def readinto(self, buffer: object) -> int:
        if self._file is None:
            raise ValueError("the file is closed")
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        count = min(len(view), self._entry.size - self._at)
        try:
            data = self._file.read_at(self._at, count)
        except OSError as error:
            raise BrokenInputError(self._entry.name, f"it cannot be read: {error}") from error
        if len(data) < count:
            raise BrokenInputError(self._entry.name, "it has become shorter since it was listed")
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._file = None
        super().close()


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
