"""Whether a release is still what its table was prepared from."""

from __future__ import annotations

import glob
import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from syncsam_lightning.data.sources.opening import stored_files
from syncsam_lightning.data.sources.web_files import WebFolder
from syncsam_lightning.data.sources.web_place import WebPlace, is_web, without_query
from syncsam_lightning.data.table import Table
from syncsam_lightning.errors import DatasetNotFoundError, SyncSAMError, TableError
from syncsam_lightning.seeding import stable_key

log = logging.getLogger(__name__)

SOURCE = "source_files"
"""Key of the release's state in what a table keeps."""

LOOKED_AT = 300_000
"""Files of which size and time are asked for; of the folders after those, only their own time."""

_TRIES = 2
"""How often a web server is asked: a table can be used without its release."""

# The working folder may be the root: tables, programs, configs and logs there are no part of it.
_TABLES = (".lance", ".partial", ".lock", ".soft", ".skipped.jsonl")
_PROGRAMS = (".py", "__pycache__", ".ipynb", ".sh", ".yaml", ".yml", ".toml")
_LOGS = ("lightning_logs", ".log", ".out", ".err", ".ckpt")
_OF_FILE_MANAGERS = ("Thumbs.db", "desktop.ini")  # come when somebody looks at a folder
_NOT_COUNTED = _TABLES + _PROGRAMS + _LOGS + _OF_FILE_MANAGERS
# A folder with one of these holds what a run has written, with all below it. The root itself is a
# release all the same, and so is an item that a plugin names.
_OF_RUNS = (
    "predictions.csv",
    "run_config.yaml",
    "hparams.yaml",
    "metrics.csv",
    "scores.parquet",
    "events.out.tfevents",
)


@dataclass(frozen=True, slots=True)
class SourceState:
    """The names, sizes and times of writing of a release's files; no file is read.

    Args:
        files: how many were looked at.
        size: bytes of all of them.
        digest: of their names, sizes and times.
    """

    files: int
    size: int
    digest: str

    @classmethod
    def of(
        cls,
        root: Path | str,
        names: Sequence[str] = (),
        storage_options: Mapping[str, str] | None = None,
    ) -> SourceState:
        """Look at a release.

        Links are followed. Hidden files, programs, configs, what file managers leave behind and
        what this package writes (tables, their reports, the folders of runs) don't count. Of a
        folder with more than :data:`LOOKED_AT` files, and of those that are looked at after so
        many, the time of writing counts, which changes with each file that comes, goes or is
        replaced by renaming. Of an archive its parts count.

        The time of writing counts on an object store too, of which each tells it with each listing.
        What a store calls the tag of a file says less: it differs by store and by the way in which
        a file was uploaded, and is not always there. Of archives on web servers, where nothing is
        listed, size and tag of the parts count that are named.

        Args:
            root: a folder or an archive on this machine, or an address on an object store.
            names: the items of a folder that count; none: all. On a web server what the archives
                are called.
            storage_options: of an object store, see
                :func:`~syncsam_lightning.data.sources.opening.open_source`.

        Raises:
            OSError: it can't be listed.
            SyncSAMError: the object store can't be used.
        """
        total, files, size = 0, 0, 0
        for name, length, written in _found(root, names, storage_options):
            files, size = files + 1, size + length
            text = f"{name}\0{length}\0{written}".encode("utf-8", "surrogatepass")
            # A sum, so that the order of listing doesn't matter and nothing has to be sorted.
            total += int.from_bytes(hashlib.blake2b(text, digest_size=16).digest())
        return cls(files, size, f"{total % (1 << 128):032x}")

    def settings(self) -> dict[str, Any]:
        """Return what a table keeps of it."""
        return asdict(self)

    def change_since(self, stored: Mapping[str, Any]) -> str:
        """Return in one clause what has changed since a table kept a state, ``""`` if nothing."""
        if stored.get("digest") == self.digest:
            return ""
        if self.is_as_large_as(stored):
            return f"{self.files:,} files as before, but not of the same names and times of writing"
        return f"{_counted(stored)} have become {self.files:,} of {self.size:,}"

    def is_as_large_as(self, stored: Mapping[str, Any]) -> bool:
        """Whether there are as many files and bytes as in a state that a table kept."""
        return (stored.get("files"), stored.get("size")) == (self.files, self.size)


def _counted(stored: Mapping[str, Any]) -> str:
    return f"{stored.get('files', 0):,} files of {stored.get('size', 0):,} bytes"


def state_of(
    root: Path | str,
    names: Sequence[str] = (),
    storage_options: Mapping[str, str] | None = None,
) -> SourceState | None:
    """Return the state of a release, None if it can't be looked at; see :meth:`SourceState.of`."""
    try:
        return SourceState.of(root, names, storage_options)
    except (OSError, SyncSAMError) as error:
        if is_web(root) and isinstance(error, (FileNotFoundError, DatasetNotFoundError)):
            return None  # whoever reads it says so
        log.warning(
            "%s can't be listed, so later changes in it won't be noticed: %s",
            address_of(root), error,
        )  # fmt: skip
        return None


def check_unchanged(
    table: Table,
    root: Path | str | None,
    names: Sequence[str] = (),
    storage_options: Mapping[str, str] | None = None,
) -> None:
    """Say which table is used, and make sure that its release is what it was prepared from.

    A table is used as it is where no release is given, where the one given is not there, and where
    an earlier version of this package prepared it. A release may have been moved or copied: where
    it lies elsewhere, number and size of its files tell whether it is the same.

    Args:
        table: that is there.
        root: the release.
        names: see :meth:`SourceState.of`.
        storage_options: see :meth:`SourceState.of`.

    Raises:
        TableError: the release has changed or is another, or the table can't be read.
    """
    stored = table.settings
    written = f"{table.written:%Y-%m-%d %H:%M}"
    log.info("using %s, prepared on %s", table, written)
    if table.is_of_earlier_version:
        log.warning(
            "%s was prepared by an earlier version, which read some files otherwise (see the "
            "changelog): scores on it compare with those it gave before; for those of today remove "
            "it and run the same command, or give another data.table",
            table,
        )
    kept = stored.get(SOURCE)
    if root is None or not isinstance(kept, dict):
        return
    if isinstance(root, Path) and not root.exists():
        return
    now = state_of(root, names, storage_options)
    if now is None:
        return
    if stored.get("root") != address_of(root):
        if not now.is_as_large_as(kept):
            raise TableError(
                f"{table} was prepared from {stored.get('root')}, which is another release than "
                f"{root}: that had {_counted(kept)}, and here are {_counted(now.settings())}. Give "
                "another data.table to prepare one from it; to use this table as it is, leave "
                "data.root out (--data.root null)"
            )
        return
    if change := now.change_since(kept):
        raise TableError(
            f"{table} was prepared on {written} from {root}, which has changed since: {change}. To "
            f"prepare it anew, remove {table} and run the same command, or give another "
            "data.table; to use it as it is, leave data.root out (--data.root null)"
        )


def address_of(root: Path | str) -> str:
    """Return what a table keeps of where its release lies."""
    return os.fspath(root.resolve()) if isinstance(root, Path) else without_query(root)


def _found(
    root: Path | str, names: Sequence[str], storage_options: Mapping[str, str] | None
) -> Iterator[tuple[str, int, int]]:
    """Yield name, bytes and time of writing in nanoseconds, on web servers a key of the tag."""
    if is_web(root):
        place = WebPlace.of(root, names)
        files = WebFolder(place.folder, place.addresses)
        files.tries = _TRIES
        for name in place.names:
            version = files.version(name)
            yield name, version.size, stable_key(version.tag)
    elif isinstance(root, str):
        for entry in stored_files(root, storage_options):
            yield entry.name, entry.size, entry.written
    elif root.is_dir():
        items = [(name, root / name) for name in names]
        yield from ((name, *_size_and_time(item)) for name, item in items if item.is_file())
        yield from _walked([one for one in items if one[1].is_dir()] if names else [("", root)])
    else:
        for part in root.parent.glob(f"{glob.escape(root.stem)}.z*"):
            yield part.name, *_size_and_time(part)


def _walked(folders: Iterable[tuple[str, Path]]) -> Iterator[tuple[str, int, int]]:
    waiting = sorted(folders, reverse=True)
    named = {folder for _, folder in waiting}
    seen: set[tuple[int, int]] = set()
    left = LOOKED_AT
    while waiting:
        name, folder = waiting.pop()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:  # links may go in circles
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as items:
                first = list(islice(items, left + 1))
        except OSError:
            # Missing, or may not be listed: a change if it was once, and no reason to stop.
            continue
        if len(first) > left:
            yield name, 0, status.st_mtime_ns
            continue
        left -= len(first)
        if folder not in named and any(item.name.startswith(_OF_RUNS) for item in first):
            continue
        inner = []
        for item in first:
            if item.name.startswith((".", *_OF_RUNS)):
                continue
            if item.name.endswith(_NOT_COUNTED):
                continue
            if item.is_dir():
                inner.append((f"{name}/{item.name}", Path(item.path)))
            else:
                yield f"{name}/{item.name}", *_size_and_time(item)
        waiting += sorted(inner, reverse=True)


def _size_and_time(item: os.DirEntry[str] | Path) -> tuple[int, int]:
    try:
        status = item.stat()
    except OSError:  # a link to nothing
        return 0, 0
    return status.st_size, status.st_mtime_ns
