"""Where files lie, and how bytes in the middle of them are read: web servers."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from time import sleep
from typing import NamedTuple
from urllib.parse import quote

from urllib3 import BaseHTTPResponse, Timeout

from syncsam_lightning.data.sources.storage import Found
from syncsam_lightning.data.sources.web_errors import InterruptedRequestError
from syncsam_lightning.data.sources.web_requests import PartRequests
from syncsam_lightning.data.sources.web_tokens import host, parsed
from syncsam_lightning.errors import DatasetNotFoundError

log = logging.getLogger(__name__)

_PIECE = 256 << 10
_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18})")
_LONG_PAUSE = 10.0


class ChangedFileError(OSError):
    """A file is another one than it was when the reading began."""


class RangesIgnoredError(OSError):
    """A server sends whole files where parts are asked for."""


class FileVersion(NamedTuple):
    """What tells a file from what it was before.

    Args:
        size: bytes.
        tag: the strong ETag, else the date of the last change, else ``""``.
    """

    size: int
    tag: str

    def differs(self, other: FileVersion) -> bool:
        """Return whether two versions can't be the same; tags of two kinds say nothing."""
        comparable = self.tag and other.tag and (self.tag[0] == '"') == (other.tag[0] == '"')
        return self.size != other.size or bool(comparable and self.tag != other.tag)


class WebFolder:
    """A folder of a web server that answers requests for parts of files.

    Threads may share it. What was interrupted goes on where it was, after growing pauses; what
    fails then is an ``OSError`` that says what to do. It is pickled with the addresses that it was
    given and the versions of the files that it knows, and without tokens, connections and the
    addresses that servers led to.

    Args:
        address: ``https://HOST/FOLDER`` or ``http://``; a query is put after the path of each file.
        addresses: of files that lie elsewhere, by name.

    Attributes:
        connect_timeout: seconds until a server must have taken a connection.
        read_timeout: seconds that a server may be silent.
        tries: how often in a row a request may fail, or bring no byte.
        first_pause: seconds before a second try; each later pause is twice as long.
        longest_pause: seconds.
        longest_wait: seconds that a server may ask to wait.

    Raises:
        DatasetNotFoundError: an address can't be used, or holds a password.
    """

    connect_timeout = 10.0
    read_timeout = 60.0
    tries = 8
    first_pause = 0.5
    longest_pause = 60.0
    longest_wait = 600.0

    def __init__(self, address: str, addresses: Mapping[str, str] | None = None) -> None:
        given = dict(addresses or {})
        for what, text in {"the folder": address, **given}.items():
            try:
                parsed(text)
            except ValueError as error:
                raise DatasetNotFoundError(
                    f"the address of {what} can't be used: {error}"
                ) from None
        self.__setstate__((address, given, {}))

    def __getstate__(self) -> tuple[str, dict[str, str], dict[str, FileVersion]]:
        return self._address, self._addresses, dict(self._versions)

    def __setstate__(self, state: tuple[str, dict[str, str], dict[str, FileVersion]]) -> None:
        self._address, self._addresses, self._versions = state
        self._of_process: dict[int, PartRequests] = {}

    def _url(self, path: str) -> str:
        if path in self._addresses:
            return self._addresses[path].partition("#")[0]
        folder, mark, query = self._address.partition("#")[0].partition("?")
        return f"{folder.rstrip('/')}/{quote(path)}".rstrip("/") + mark + query

    def where(self, path: str) -> str:
        """Return the address of a path without its query, which may be signed."""
        return self._url(path).partition("?")[0]

    def _host(self, path: str) -> str:
        return host(parsed(self._url(path)))

    def list(self, folder: str) -> list[Found]:
        """Raise ``OSError``: it can't be known what else a folder has."""
        raise OSError(
            f"{self._host('')} gives no list of its files, as no web server does: name the files"
        )

    def size(self, path: str) -> int:
        """Return the bytes of a file."""
        return self.version(path).size

    def version(self, path: str) -> FileVersion:
        """Return the version of a file that is read from now on; it is asked for once.

        Raises:
            FileNotFoundError: there is no such file.
            OSError: it can't be read.
        """
        patience = _Patience(self)
        while path not in self._versions:
            try:
                self._requests.let_go(self._ask(path, 0, 0))
            except InterruptedRequestError as error:
                patience.wait(error)
        return self._versions[path]

    def open(self, path: str) -> _File:
        """Open a file; nothing is asked for before it is read."""
        return _File(self, path)

    def read(self, path: str, length: int) -> bytes:
        """Return the start of a file."""
        return self.read_at(path, 0, length)

    def read_at(self, path: str, offset: int, length: int, *, slack: int = 0) -> bytes:
        """Return bytes of a file; fewer only at its end."""
        return b"".join(self.stream(path, offset, length + slack))

    def stream(self, path: str, offset: int, length: int) -> Iterator[bytes]:
        """Yield bytes of a file as they come, in small pieces; fewer only at its end.

        Raises:
            ChangedFileError: it is not the file any more that it was at first.
            FileNotFoundError: there is no such file.
            RangesIgnoredError: the server can't send parts of files.
            OSError: it can't be read.
        """
        end = min(offset + length, self.size(path)) if length > 0 else offset
        patience = _Patience(self)
        while offset < end:
            try:
                for piece in self._pieces(path, offset, end):
                    offset += len(piece)
                    patience.failures = 0
                    yield piece
            except InterruptedRequestError as error:
                patience.wait(error)

    def _pieces(self, path: str, offset: int, end: int) -> Iterator[bytes]:
        answer = self._ask(path, offset, end - 1)
        try:
            while offset < end:
                piece = self._requests.read(answer, min(_PIECE, end - offset))
                if not piece:
                    raise InterruptedRequestError(
                        f"{self._host(path)} breaks off in the middle of a file",
                        f"{end - offset} bytes are missing",
                        "check the network, and try again",
                    )
                offset += len(piece)
                yield piece
        finally:
            answer.close()

    @property
    def received(self) -> int:
        """Bytes of bodies that came to this process so far, those of failed tries included."""
        return self._requests.received

    @property
    def _requests(self) -> PartRequests:
        # Connections must not be shared with a forked process.
        process = os.getpid()
        if process not in self._of_process:
            timeout = Timeout(connect=self.connect_timeout, read=self.read_timeout)
            self._of_process.setdefault(process, PartRequests(timeout))
        return self._of_process[process]

    def _ask(self, path: str, first: int, last: int) -> BaseHTTPResponse:
        """Ask for a part of a file, and check that it is what comes."""
        answer = self._requests.get(self._url(path), first, last)
        try:
            self._check(path, answer, first, last)
        except OSError:
            answer.close()
            raise
        return answer

    def _check(self, path: str, answer: BaseHTTPResponse, first: int, last: int) -> None:
        name = self._host(path)
        if answer.status == 200:
            raise RangesIgnoredError(
                f"{name} sends whole files where parts are asked for: download the release, and "
                "give the path of its folder"
            )
        if answer.headers.get("Content-Encoding", "").lower() not in ("", "identity"):
            raise OSError(f"{name} sends the file packed (Content-Encoding): ask its owner")
        told = answer.headers.get("Content-Range", "")
        found = _CONTENT_RANGE.fullmatch(told)
        if found is None:
            raise OSError(f"{name} does not tell which part of the file it sends: ask its owner")
        version = FileVersion(int(found[3]), _tag(answer))
        if version.differs(self._versions.get(path, version)):
            raise ChangedFileError(
                f"{path} has changed on {name} while it was read: run the same command again"
            )
        is_empty = answer.status == 416 and version.size == 0
        if not is_empty and told != f"bytes {first}-{last}/{version.size}":
            raise OSError(f"{name} sends {told} of the file instead of {first}-{last}")
        self._versions.setdefault(path, version)


@dataclass(frozen=True, slots=True)
class _File:
    folder: WebFolder
    path: str

    def read_at(self, offset: int, length: int) -> bytes:
        return self.folder.read_at(self.path, offset, length)


@dataclass(slots=True)
class _Patience:
    """Waits after each failure in a row, and gives up after too many."""

    folder: WebFolder
    failures: int = 0

    def wait(self, error: InterruptedRequestError) -> None:
        folder = self.folder
        if error.wait > folder.longest_wait:
            raise OSError(
                f"{error.what} ({error.cause}) and asks to wait {math.ceil(error.wait / 60)} "
                "minutes: try again then"
            ) from None
        self.failures += 1
        if self.failures >= folder.tries:
            raise OSError(
                f"{error.what} ({error.cause}, tried {self.failures} times): {error.advice}"
            ) from None
        pause = min(folder.longest_pause, folder.first_pause * 2 ** (self.failures - 1))
        pause = max(pause, error.wait)
        if pause >= _LONG_PAUSE:
            log.warning("%s; trying again in %d seconds", error, pause)
        sleep(pause)


def _tag(answer: BaseHTTPResponse) -> str:
    tag = answer.headers.get("ETag", "")
    return str(tag if tag.startswith('"') else answer.headers.get("Last-Modified", ""))
