"""Where files lie, and how bytes in the middle of them are read: object stores."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import obstore
from obstore.exceptions import BaseError, UnknownConfigurationKeyError
from obstore.store import AzureStore, GCSStore, S3Store

from syncsam_lightning.data.location import with_patience
from syncsam_lightning.data.sources.aws_profile import profile
from syncsam_lightning.data.sources.storage import Found, LastUsed
from syncsam_lightning.data.sources.store_errors import CREDENTIALS, explained, first_line
from syncsam_lightning.errors import SyncSAMError

STORES = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
"""What reads the addresses that begin with a scheme: ``SCHEME://BUCKET/FOLDER``."""

_COMMON = ("allow_http", "timeout", "connect_timeout", "client_max_retries")
_EXAMPLES = {
    "s3": ("aws_endpoint", "aws_region", "aws_access_key_id", "aws_skip_signature", *_COMMON),
    "gs": ("google_service_account", "google_skip_signature", *_COMMON),
    "az": ("azure_storage_account_name", "azure_storage_account_key", *_COMMON),
}
_MOST_FILES = 4
_NEAR = 1 << 20
_FIRST_AHEAD, _MOST_AHEAD = 256 << 10, 8 << 20
_FIRST_PAUSE = timedelta(milliseconds=100)


class StorageOptionError(SyncSAMError):
    """An option of an object store is not known or has an impossible value."""


class ObjectFolder:
    """A folder of an object store.

    A failed request is repeated with growing pauses; what fails then is an ``OSError`` that says
    so. Reads that follow one another closely are served from a block read ahead: the small files of
    an archive would otherwise cost a request each.

    Args:
        uri: ``s3://BUCKET/FOLDER``, ``gs://BUCKET/FOLDER`` or ``az://CONTAINER/FOLDER``.
        options: as a table takes them, see
            :class:`~syncsam_lightning.data.location.TableLocation`.

    Raises:
        StorageOptionError: an option is unknown, or its value is of another form.
    """

    def __init__(self, uri: str, options: Mapping[str, str] | None = None) -> None:
        self.__setstate__((uri.rstrip("/"), dict(options or {})))
        self._connect()  # tells at once what is wrong with the options

    def __getstate__(self) -> tuple[str, dict[str, str]]:
        return self._uri, self._options

    def __setstate__(self, state: tuple[str, dict[str, str]]) -> None:
        self._uri, self._options = state
        self._scheme, _, place = self._uri.partition("://")
        self._bucket, _, self._root = place.partition("/")
        self._files = LastUsed[_Ahead](_MOST_FILES)
        self._connected: Any = None

    def where(self, path: str) -> str:
        """Return the address of a path."""
        return f"{self._uri}/{path}" if path else self._uri

    def _key(self, path: str) -> str:
        return "/".join(part for part in (self._root, path) if part)

    def _connect(self) -> Any:
        # Made in the process that reads: it is not sent to workers with the rest.
        if self._connected is None:
            settings, retries = _settings(self._options, self._uri)
            try:
                self._connected = STORES[self._scheme](
                    self._bucket,
                    config=settings,
                    retry_config=retries,
                    credential_provider=profile(settings) if self._scheme == "s3" else None,
                )
            except (BaseError, ValueError) as error:
                raise _refused(self._scheme, error) from None
        return self._connected

    def list(self, folder: str) -> list[Found]:
        """Return the items of a folder by name."""
        key = self._key(folder)
        with explained(self._uri):
            found = obstore.list_with_delimiter(self._connect(), key)
        if not (found["objects"] or found["common_prefixes"]):
            raise FileNotFoundError(f"nothing is in {self.where(folder)}")
        files = [
            Found(_name(item["path"]), item["size"], written=_nanoseconds(item["last_modified"]))
            for item in found["objects"]
            # The object that marks a folder, where it is empty, has the folder's own name.
            if item["path"] != key
        ]
        folders = [Found(_name(path), is_folder=True) for path in found["common_prefixes"]]
        return sorted(files + folders)

    def size(self, path: str) -> int:
        """Return the bytes of a file."""
        with explained(self._uri):
            return int(obstore.head(self._connect(), self._key(path))["size"])

    def open(self, path: str) -> _Ahead:
        """Open a file; nothing is asked for before it is read."""
        return _Ahead(self, path)

    def read_at(self, path: str, offset: int, length: int, *, slack: int = 0) -> bytes:
        """Return bytes of a file, of which more is read ahead while few others are read."""
        return self._files.get(path, self.open).read_at(offset, length + slack)

    def read(self, path: str, length: int) -> bytes:
        """Return the start of a file."""
        with explained(self._uri):
            found = obstore.get(self._connect(), self._key(path))
            if found.meta["size"] <= length:
                return _whole(found, 0, found.meta["size"])
        return self.read_range(path, 0, length)

    def read_range(self, path: str, offset: int, length: int) -> bytes:
        """Return bytes of a file, of which there is at least one; fewer only at its end."""
        end = offset + length
        with explained(self._uri):
            found = obstore.get(self._connect(), self._key(path), options={"range": (offset, end)})
            return _whole(found, offset, min(end, found.meta["size"]))


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _nanoseconds(time: datetime) -> int:
    return round(time.timestamp() * 1_000_000) * 1000


def _whole(found: obstore.GetResult, begin: int, end: int) -> bytes:
    """Return what was asked for, or fail if other bytes came, or fewer."""
    data = bytes(found.bytes())
    if found.range != (begin, end) or len(data) != end - begin:
        raise OSError(f"{len(data)} bytes came instead of {end - begin}")
    return data


@dataclass(slots=True)
class _Ahead:
    """A file of which more is read the longer it is read from front to back."""

    folder: ObjectFolder
    path: str
    _start: int = 0
    _block: bytes = b""
    _last: int = -1
    _end: int = -1 << 62  # nothing was read yet, so nothing follows it
    _ahead: int = 0

    def read_at(self, offset: int, length: int) -> bytes:
        if length <= 0:
            return b""
        at = offset - self._start
        follows = self._last < offset <= self._end + _NEAR
        self._last, self._end = offset, offset + length
        if at >= 0 and at + length <= len(self._block):
            return self._block[at : at + length]
        self._ahead = min(_MOST_AHEAD, 2 * self._ahead or _FIRST_AHEAD) if follows else 0
        block = self.folder.read_range(self.path, offset, max(length, self._ahead))
        self._start, self._block = offset, block if self._ahead else b""
        return block[:length]


def _settings(options: Mapping[str, str], uri: str) -> tuple[dict[str, str], Any]:
    """Return options as the library takes them, and how often and how long it repeats requests."""
    given = with_patience({key: str(value) for key, value in options.items()}, uri)
    given.pop("download_retry_count", None)  # of tables only; requests are repeated as a whole
    retries = {
        "max_retries": _number(given, "client_max_retries"),
        "retry_timeout": timedelta(seconds=_number(given, "client_retry_timeout")),
        "backoff": {"init_backoff": _FIRST_PAUSE},
    }
    for key in ("timeout", "connect_timeout"):
        if key in given:
            given[key] = _duration(key, given[key])
    return given, retries


def _number(options: dict[str, str], key: str) -> int:
    value = options.pop(key)
    if not value.isdecimal():
        raise StorageOptionError(f"{key} is {value!r}, expected a whole number")
    return int(value)


def _duration(key: str, value: str) -> str:
    """Return a time with its unit; a number alone means seconds."""
    try:
        return f"{round(1000 * float(value))}ms"
    except (ValueError, OverflowError):
        if value[:1].isdigit():
            return value
    raise StorageOptionError(f"{key} is {value!r}, expected seconds like 30 or 30s")


def _refused(scheme: str, error: Exception) -> StorageOptionError:
    if isinstance(error, UnknownConfigurationKeyError):
        name = first_line(error).split("'")[1]
        return StorageOptionError(
            f"no storage option {name!r} for {scheme}://; there are {', '.join(_EXAMPLES[scheme])} "
            "and the others that tables take"
        )
    reason = first_line(error).rpartition(" error: ")[2]
    return StorageOptionError(
        f"storage options for {scheme}://: {reason}. What is not given is taken from the "
        f"environment, credentials from {CREDENTIALS[scheme]}"
    )


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is an address on an object store."""
    scheme, mark, _ = os.fspath(path).partition("://")
    return bool(mark) and scheme in STORES
