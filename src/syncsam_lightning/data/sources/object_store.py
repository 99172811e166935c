"""Where files lie, and how bytes in the middle of them are read: object stores."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pyarrow import fs

from syncsam_lightning.data.sources.storage import Found, LastUsed
from syncsam_lightning.errors import SyncSAMError

ATTEMPTS = 4
PAUSE = 0.25
"""Seconds before the second attempt; doubled before each further one."""

# What another attempt doesn't change.
_FINAL = ("NO_SUCH_BUCKET", "NO_SUCH_KEY", "ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_")

_MOST_FILES = 4
_NEAR = 1 << 20
_FIRST_AHEAD, _MOST_AHEAD = 256 << 10, 8 << 20

log = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class StorageOptionError(SyncSAMError):
    """An option of an object store is not known or has an impossible value."""


class S3Folder:
    """A folder of an S3 bucket.

    A failed request is repeated a few times; what fails then is an ``OSError`` that says so. Reads
    that follow one another closely are served from a block read ahead: the small files of an
    archive would otherwise cost a request each.

    Args:
        uri: ``s3://BUCKET/FOLDER``.
        options: see :data:`OPTIONS`. What is not given is taken from the environment:
            ``AWS_ACCESS_KEY_ID``, ``AWS_REGION``, ``AWS_ENDPOINT_URL`` and so on.
        attempts: how often a request is tried.
        pause: seconds before the second attempt, doubled before each further one.

    Raises:
        StorageOptionError: an option is unknown.
    """

    def __init__(
        self,
        uri: str,
        options: Mapping[str, str] | None = None,
        *,
        attempts: int = ATTEMPTS,
        pause: float = PAUSE,
    ) -> None:
        self._uri = uri.rstrip("/")
        parts = urlsplit(self._uri)
        self._root = f"{parts.netloc}{parts.path}"
        self._arguments = _s3_arguments(options or {})
        self._attempts, self._pause = attempts, pause
        self._forget()

    def _forget(self) -> None:
        self._connected: fs.S3FileSystem | None = None
        self._files = LastUsed[_Ahead](_MOST_FILES)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in _PER_PROCESS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget()

    def where(self, path: str) -> str:
        """Return the address of a path."""
        return f"{self._uri}/{path}" if path else self._uri

    def _key(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    def _fs(self) -> fs.S3FileSystem:
        if self._connected is None:
            # One layer repeats requests: this one, which tells the user.
            once = fs.AwsStandardS3RetryStrategy(max_attempts=1)
            self._connected = fs.S3FileSystem(**self._arguments, retry_strategy=once)
        return self._connected

    def _persist(self, path: str, request: Callable[[], _Result]) -> _Result:
        for attempt in range(1, self._attempts + 1):
            try:
                return request()
            except FileNotFoundError:
                raise
            except OSError as error:
                self._files.forget(path)
                if any(name in str(error) for name in _FINAL):
                    raise
                if attempt == self._attempts:
                    raise OSError(f"{error} (tried {attempt} times)") from error
                pause = self._pause * 2 ** (attempt - 1)
                log.warning("%s: %s; trying again in %.1f s", self.where(path), error, pause)
                time.sleep(pause)
        raise AssertionError("attempts is at least 1")

    def list(self, folder: str) -> list[Found]:
        """Return the items of a folder by name."""
        selector = fs.FileSelector(self._key(folder))
        found = self._persist(folder, lambda: self._fs().get_file_info(selector))
        return sorted(
            Found(item.base_name, item.size or 0, item.type == fs.FileType.Directory)
            for item in found
        )

    def size(self, path: str) -> int:
        """Return the bytes of a file."""
        found = self._persist(path, lambda: self._fs().get_file_info(self._key(path)))
        if found.type != fs.FileType.File:
            raise FileNotFoundError(f"{self.where(path)} is not there")
        return int(found.size)

    def _file(self, path: str) -> _Ahead:
        return _Ahead(self._fs().open_input_file(self._key(path)))

    def open(self, path: str) -> _Ahead:
        """Open a file."""
        return self._persist(path, lambda: self._file(path))

    def read_at(self, path: str, offset: int, length: int) -> bytes:
        """Return bytes of a file."""
        return self._persist(
            path, lambda: self._files.get(path, self._file).read_at(offset, length)
        )

    def read(self, path: str, length: int) -> bytes:
        """Return the start of a file."""

        def request() -> bytes:
            with self._fs().open_input_file(self._key(path)) as file:
                return bytes(file.read_at(min(length, file.size()), 0))

        return self._persist(path, request)


_PER_PROCESS = ("_connected", "_files")


@dataclass(slots=True)
class _Ahead:
    """A file of which more is read the longer it is read from front to back."""

    file: Any
    _start: int = 0
    _block: bytes = b""
    _last: int = -1
    _end: int = -1 << 62  # nothing was read yet, so nothing follows it
    _ahead: int = 0
    _size: int = field(init=False)

    def __post_init__(self) -> None:
        self._size = self.file.size()

    def read_at(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self._size - offset))
        at = offset - self._start
        follows = self._last < offset <= self._end + _NEAR
        self._last, self._end = offset, offset + length
        if at >= 0 and at + length <= len(self._block):
            return self._block[at : at + length]
        self._ahead = min(_MOST_AHEAD, 2 * self._ahead or _FIRST_AHEAD) if follows else 0
        wanted = min(max(length, self._ahead), self._size - offset)
        block = bytes(self.file.read_at(wanted, offset))
        if len(block) < wanted:
            raise OSError(f"{len(block)} bytes came instead of {wanted}")
        self._start, self._block = offset, block if self._ahead else b""
        return block[:length]


OPTIONS: Mapping[str, str] = {
    "aws_access_key_id": "access_key",
    "aws_secret_access_key": "secret_key",
    "aws_session_token": "session_token",
    "aws_region": "region",
    "aws_endpoint": "endpoint_override",
    "aws_skip_signature": "anonymous",
    "allow_http": "scheme",
    "timeout": "request_timeout",
    "connect_timeout": "connect_timeout",
}
"""Options as tables on object stores take them, and what they are called by the file system."""


def _s3_arguments(options: Mapping[str, str]) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for key, value in options.items():
        name = OPTIONS.get(key.lower())
        if name is None:
            raise StorageOptionError(f"no storage option {key!r}; there are {', '.join(OPTIONS)}")
        if name == "scheme":
            arguments[name] = "http" if _is_true(value) else "https"
        elif name == "anonymous":
            arguments[name] = _is_true(value)
        elif name.endswith("timeout"):
            arguments[name] = _seconds(key, value)
        else:
            arguments[name] = str(value)
    endpoint = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT")
    if endpoint:
        arguments.setdefault("endpoint_override", endpoint)
    if "endpoint_override" in arguments:
        parts = urlsplit(arguments["endpoint_override"])
        if parts.scheme in ("http", "https"):
            arguments["endpoint_override"] = parts.netloc
            arguments.setdefault("scheme", parts.scheme)
    return arguments


def _is_true(value: object) -> bool:
    return str(value).lower() in ("1", "true", "yes", "on")


def _seconds(key: str, value: object) -> float:
    try:
        return float(str(value).removesuffix("s"))
    except ValueError as error:
        raise StorageOptionError(f"{key} is {value!r}, expected seconds like 30 or 30s") from error


def is_s3(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is an address on an object store."""
    return os.fspath(path).startswith("s3://")
