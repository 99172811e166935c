"""A release on web servers: its directory first, then the files that are asked for, all kept."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from syncsam_lightning.data.conversion.progress import Progress
from syncsam_lightning.data.conversion.workbench import Workbench
from syncsam_lightning.data.sources import Source
from syncsam_lightning.data.sources.archive_folder import ArchiveFolder
from syncsam_lightning.data.sources.kept_folder import KeptFolder
from syncsam_lightning.data.sources.opening import SourceError, open_named
from syncsam_lightning.data.sources.shelf import Shelf
from syncsam_lightning.data.sources.web_files import WebFolder
from syncsam_lightning.data.sources.web_place import WebPlace
from syncsam_lightning.data.sources.zip_source import ZipSource
from syncsam_lightning.data.sources.zip_spans import Piece, piece_at, spans_of
from syncsam_lightning.errors import ConversionError, DatasetNotFoundError
from syncsam_lightning.locks import only_one

log = logging.getLogger(__name__)

_FETCHED = "fetched"
_MEGABYTE = 1_000_000


class WebRelease:
    """Archives on web servers, of which as little is read as is needed.

    The directory and what :meth:`keep` asks for stay on this machine for later tables. What
    :meth:`fetch` asks for is kept with the unfinished work, until the table is there.

    Args:
        root: see :meth:`WebPlace.of`.
        usual: see :meth:`WebPlace.of`.
        bench: of the conversion.

    Raises:
        DatasetNotFoundError: no archive is named, or one is not there.
        BrokenInputError: the end of the only archive is damaged.
        ConversionError: the directory is larger than the conversion may read.
        SourceError: a server fails, or is not able to give parts of files.
    """

    def __init__(
        self, root: str | os.PathLike[str], usual: Sequence[str], bench: Workbench
    ) -> None:
        self._bench = bench
        self._place = place = WebPlace.of(root, usual)
        self._planned, self._limit = 0, bench.options.max_download
        self._shelf = Shelf(_made(place.cache))
        files = WebFolder(place.folder, place.addresses)
        self._storage = KeptFolder(files, [self._shelf])
        with self._failures():
            try:
                self._opened = open_named(self._storage, place.names)
            except FileNotFoundError as error:
                raise DatasetNotFoundError(f"{error}{place.advice()}") from error
        pieces = [
            piece
            for archive in self._archives(self._opened)
            for piece in piece_at(
                archive.volumes,
                archive.directory.part,
                archive.directory.offset,
                archive.directory.size,
            )
        ]
        count = sum(archive.directory.count for archive in self._archives(self._opened))
        self._keep(pieces, f"the directory of about {count:,} files")

    @property
    def name(self) -> str:
        """Its address, for messages."""
        return self._place.folder_name

    @property
    def source(self) -> Source:
        """The release; its directory costs nothing to read, each of its files a request."""
        return self._opened

    def keep(self, wanted: Callable[[str], bool], what: str) -> None:
        """Read files of the release that every table needs.

        Args:
            wanted: tells by its name whether a file is one of them.
            what: they are, in messages.

        Raises:
            ConversionError, SourceError: see :class:`WebRelease`.
        """
        self._keep(self._pieces(wanted)[0], what)

    def fetch(self, wanted: Callable[[str], bool]) -> Source:
        """Read the files that a table is made of.

        Args:
            wanted: tells by its name whether a file is one of them.

        Returns:
            the release; these files of it are on this machine.

        Raises:
            ConversionError, SourceError: see :class:`WebRelease`.
        """
        pieces, count, needed = self._pieces(wanted)
        shelf = Shelf(self._bench.stage_folder(_FETCHED))
        storage = self._storage.beside(shelf)
        self._read(storage, pieces, f"{count:,} files of {_bytes(needed)}")
        self._bench.options.at(_FETCHED)
        return self._on(storage)

    def _keep(self, pieces: Sequence[Piece], what: str) -> None:
        busy = f"{self._shelf.folder} is being written by another process"
        with only_one(self._shelf.folder / "lock", busy):
            self._shelf.forget()  # another process may have read it since
            self._read(self._storage, pieces, f"{what}, kept in {self._shelf.folder}")

    def _pieces(self, wanted: Callable[[str], bool]) -> tuple[list[Piece], int, int]:
        pieces: list[Piece] = []
        count = needed = 0
        for archive in self._archives(self._opened):
            spans = spans_of(archive.volumes, archive.entries(), wanted)
            pieces += spans.pieces
            count, needed = count + spans.files, needed + spans.needed
        return pieces, count, needed

    def _read(self, storage: KeptFolder, pieces: Sequence[Piece], what: str) -> None:
        missing = storage.missing(pieces)
        size = sum(piece.end - piece.begin for piece in missing)
        whole = sum(piece.end - piece.begin for piece in pieces)
        if not size:
            log.info("%s: all of %s is here", self.name, what)
            return
        here = f"; {_bytes(whole - size)} are here" if size < whole else ""
        log.info("%s: %s to read for %s%s", self.name, _bytes(size), what, here)
        self._allow(size, what)
        options = self._bench.options
        with (
            self._failures(),
            Progress("download", -(-size // _MEGABYTE), "MB", shown=options.progress) as progress,
        ):
            done = 0

            def told(count: int) -> None:
                nonlocal done
                progress.add((done + count) // _MEGABYTE - done // _MEGABYTE)
                done += count
                options.at(f"downloaded:{done}")

            storage.fetch(missing, told)

    def _allow(self, size: int, what: str) -> None:
        self._planned += size
        if self._planned <= self._limit:
            return
        question = (
            f"{_bytes(size)} would be read from {self.name} for {what}, "
            f"{_bytes(self._planned)} with what was read before"
        )
        if not self._bench.options.ask(f"{question}. Read them?"):
            raise ConversionError(
                f"{question}, which is more than max_download = {_bytes(self._limit)} allows. "
                "Nothing of it was read; `syncsam prepare` reads it with --max_download "
                f"{_enough(self._planned)}"
            )
        self._limit = self._planned

    def _on(self, storage: KeptFolder) -> Source:
        moved = [
            replace(archive, volumes=replace(archive.volumes, storage=storage))
            for archive in self._archives(self._opened)
        ]
        if isinstance(self._opened, ZipSource):
            return moved[0]
        return replace(self._opened, archives=tuple(moved))

    @staticmethod
    def _archives(source: ZipSource | ArchiveFolder) -> Sequence[ZipSource]:
        return (source,) if isinstance(source, ZipSource) else source.archives

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Turn what a server can't do into an error that a user is shown."""
        try:
            yield
        except OSError as error:
            if error.errno is not None:  # of this machine: a full disk, for example
                raise
            raise SourceError(
                f"{self.name} cannot be read: {error}. What was read is kept, and "
                "the same command goes on from there"
            ) from error


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConversionError(
            f"what is read of a directory can't be kept in {folder} ({error.strerror}): let the "
            "environment variable SYNCSAM_CACHE name a folder on a disk with room"
        ) from error
    return folder


def _bytes(count: int) -> str:
    """Return a number of bytes as people say it."""
    size, unit = float(count), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.3g} {unit}" if unit != "bytes" else f"{count} bytes"


def _enough(count: int) -> str:
    """Return a limit a little above a number of bytes."""
    return f"{-(-count // _MEGABYTE)}MB"
