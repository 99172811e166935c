"""Files of a web server of which this machine keeps what was read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import NoReturn

from syncsam_lightning.data.sources.shelf import Shelf
from syncsam_lightning.data.sources.storage import Found, OpenFile
from syncsam_lightning.data.sources.web_files import WebFolder
from syncsam_lightning.data.sources.zip_spans import Piece

_CONNECTIONS = 8


class KeptFolder:
    """The storage of archives that lie on a web server.

    What is on one of the shelves is read from there, all else from the server. So a part of an
    archive may be read in hundreds of thousands of small files at the cost of the few ranges that
    were fetched before, in one process or in many.

    Args:
        files: on the server.
        shelves: what was read goes onto the last one.
    """

    def __init__(self, files: WebFolder, shelves: Sequence[Shelf]) -> None:
        self._files, self._shelves = files, tuple(shelves)
        self._sizes: dict[str, int] = {}

    def where(self, path: str) -> str:
        """Return the address of a file."""
        return self._files.where(path)

    def size(self, path: str) -> int:
        """Return the bytes of a file; what is kept of another version of it is forgotten."""
        if path not in self._sizes:
            try:
                version = self._files.version(path)
            except FileNotFoundError as error:
                raise FileNotFoundError(f"{self.where(path)} is not there: {error}") from error
            for shelf in self._shelves:
                shelf.expect(path, f"{version.size} {version.tag}")
            self._sizes[path] = version.size
        return self._sizes[path]

    def read_at(self, path: str, offset: int, length: int, *, slack: int = 0) -> bytes:
        """Return bytes of a file, and of those that follow as many as are kept, or cost no more."""
        for shelf in self._shelves:
            if data := shelf.read(path, offset, length + slack):
                break
        else:
            data, length = b"", (length + slack if length else 0)
        begin, end = offset + len(data), min(offset + length, self.size(path))
        if begin >= end:
            return data
        return data + b"".join(self._files.stream(path, begin, end - begin))

    def read(self, path: str, length: int) -> NoReturn:
        """Raise: only archives are read."""
        raise OSError(f"{self.where(path)} is no archive")

    def open(self, path: str) -> OpenFile:
        """Raise: only archives are read."""
        self.read(path, 0)

    def beside(self, shelf: Shelf) -> KeptFolder:
        """Return the same files with one more shelf, onto which goes what is read from now on."""
        more = KeptFolder(self._files, (*self._shelves, shelf))
        for path in self._sizes:
            more.size(path)
        return more

    def missing(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Return what of some pieces is on no shelf."""
        for shelf in self._shelves:
            pieces = [
                Piece(piece.path, begin, end)
                for piece in pieces
                for begin, end in shelf.missing(piece.path, piece.begin, piece.end)
            ]
        return list(pieces)

    def fetch(self, pieces: Sequence[Piece], told: Callable[[int], None]) -> None:
        """Read pieces that are missing, several at a time, and keep them.

        What was read counts, however this ends.

        Args:
            pieces: disjoint, none larger than memory allows.
            told: called with the number of bytes after each.

        Raises:
            OSError: the server fails for good.
        """
        for path in dict.fromkeys(piece.path for piece in pieces):
            mine = (piece for piece in pieces if piece.path == path)
            with (
                self._shelves[-1].adding(path) as adder,
                ThreadPoolExecutor(_CONNECTIONS) as threads,
            ):
                running = {threads.submit(self._read, one) for one in islice(mine, _CONNECTIONS)}
                try:
                    while running:
                        done, running = wait(running, return_when=FIRST_COMPLETED)
                        for future in done:
                            piece, data = future.result()
                            adder.add(piece.begin, data)
                            told(len(data))
                            running |= {threads.submit(self._read, one) for one in islice(mine, 1)}
                except BaseException:
                    _cancel(running)
                    raise

    def list(self, folder: str) -> list[Found]:
        """Raise: web servers give no lists."""
        raise OSError(f"{self.where(folder)} is on a web server, which gives no list of a folder")

    def _read(self, piece: Piece) -> tuple[Piece, bytes]:
        length = piece.end - piece.begin
        data = b"".join(self._files.stream(piece.path, piece.begin, length))
        if len(data) != length:
            raise OSError(f"{self.where(piece.path)} ends before byte {piece.end:,}")
        return piece, data


def _cancel(running: set[Future[tuple[Piece, bytes]]]) -> None:
    for future in running:
        future.cancel()
