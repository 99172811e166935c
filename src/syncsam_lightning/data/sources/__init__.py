"""Releases as they lie, read in place."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from syncsam_lightning.errors import BrokenInputError, DatasetNotFoundError
from syncsam_lightning.records import Skipped


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a release.

    Args:
        name: path inside the release, separated by ``/``; never leaves it.
        size: bytes.
    """

    name: str
    size: int


class Source(Protocol):
    """A release: picklable, and opened lazily in each process."""

    def entries(self) -> Iterator[Entry | Skipped]:
        """Yield the files in the order in which they are stored."""
        ...

    def read(self, entry: Entry) -> bytes:
        """Return the bytes of a file.

        Raises:
            BrokenInputError: they cannot be read.
        """
        ...


@dataclass(frozen=True)
class TreeSource:
    """An unpacked release."""

    root: Path

    def entries(self) -> Iterator[Entry | Skipped]:
        """Yield the files by name."""
        for path in sorted(self.root.rglob("*")):
            if path.is_file():
                yield Entry(path.relative_to(self.root).as_posix(), path.stat().st_size)

    def read(self, entry: Entry) -> bytes:
        """Return the bytes of a file."""
        try:
            return (self.root / entry.name).read_bytes()
        except OSError as error:
            raise BrokenInputError(entry.name, f"cannot be read: {error}") from error


def open_source(
    path: str | os.PathLike[str], storage_options: Mapping[str, str] | None = None
) -> Source:
    """Open a release.

    Raises:
        DatasetNotFoundError: nothing that can be read lies there.
    """
    if not Path(path).is_dir():
        raise DatasetNotFoundError(f"no release at {os.fspath(path)}")
    return TreeSource(Path(path))
