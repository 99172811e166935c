"""Telling what kind of release lies at an address."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from syncsam_lightning.data.sources.archive_folder import ArchiveFolder
from syncsam_lightning.data.sources.names import why_unsafe
from syncsam_lightning.data.sources.object_store import STORES, ObjectFolder, is_remote
from syncsam_lightning.data.sources.source import Source
from syncsam_lightning.data.sources.storage import Found, LocalFolder, Storage
from syncsam_lightning.data.sources.tree import Tree
from syncsam_lightning.data.sources.zip_end import read_end
from syncsam_lightning.data.sources.zip_source import ZipSource
from syncsam_lightning.errors import (
    ARCHIVE_DAMAGED,
    BrokenInputError,
    DatasetNotFoundError,
    SyncSAMError,
)
from syncsam_lightning.records import Skipped

_BUCKET = re.compile(r"\w+://[A-Za-z0-9$][\w.-]*(?:/|\Z)")
_PART = re.compile(r"(?P<stem>.+)\.z(?P<number>ip|\d{2,})", re.IGNORECASE | re.DOTALL)


class SourceError(SyncSAMError):
    """A release cannot be opened as a whole: the storage fails, or its archive's end is lost."""


def open_source(
    path: str | os.PathLike[str], storage_options: Mapping[str, str] | None = None
) -> Source:
    """Open a release where it lies.

    Args:
        path: a folder or an address ``s3://BUCKET/FOLDER``, ``gs://BUCKET/FOLDER`` or
            ``az://CONTAINER/FOLDER`` in which are the parts of an archive, archives, or unpacked
            files; or an archive, or any part of one.
        storage_options: for an object store, as tables take them, see
            :class:`~syncsam_lightning.data.location.TableLocation`. Credentials are better left to
            the environment.

    Raises:
        DatasetNotFoundError: nothing lies there, or the part of the archive that has its directory
            is missing.
        BrokenInputError: the end of the only archive is damaged.
        SourceError: the storage fails.
        StorageOptionError: a storage option is unknown.
    """
    address = os.fspath(path)
    _check_address(address)
    try:
        return _open(address, storage_options)
    except FileNotFoundError as error:
        raise DatasetNotFoundError(f"there is no release at {address}") from error
    except OSError as error:
        raise SourceError(f"{address} cannot be opened: {error}") from error


def _check_address(address: str) -> None:
    if "://" in address and not is_remote(address):
        scheme = address.partition("://")[0]
        known = ", ".join(f"{name}://" for name in STORES)
        raise DatasetNotFoundError(f"{address}: {scheme}:// is not supported; there are {known}")
    if is_remote(address) and not _BUCKET.match(address):
        raise DatasetNotFoundError(f"{address} names no bucket; expected SCHEME://BUCKET/FOLDER")


def holds_archives(folder: Path) -> bool:
    """Tell whether parts of an archive lie in a folder of this machine.

    Where they do, they are the release: what lies beside them may be unpacked by half.
    """
    return folder.is_dir() and bool(_archives(LocalFolder(folder, follow_links=True).list("")))


def local_tree(folder: str | os.PathLike[str]) -> Tree:
    """Return what reads an unpacked release on this machine, whatever else lies in its folder."""
    return Tree(LocalFolder(folder))


def stored_files(address: str, storage_options: Mapping[str, str] | None = None) -> Iterator[Found]:
    """Yield the files of a release on an object store as they lie there, archives unopened.

    Their names are paths from the address on.

    Args:
        address: of a folder, or of an archive or a part of one: then its parts.
        storage_options: see :func:`open_source`.

    Raises:
        DatasetNotFoundError: it is the address of no store that is known, or names no bucket.
        SourceError: the storage fails.
        StorageOptionError: a storage option is unknown.
    """
    _check_address(address)
    folder, _, file = address.rstrip("/").rpartition("/")
    named = _PART.fullmatch(file)
    store = ObjectFolder(folder if named else address, storage_options)
    if named is not None:
        for item in _listed(store, ""):
            part = None if item.is_folder else _PART.fullmatch(item.name)
            if part is not None and part["stem"] == named["stem"]:
                yield item
        return
    waiting = [""]
    while waiting:
        for item in _listed(store, waiting.pop()):
            if item.is_folder:
                waiting.append(item.name)
            else:
                yield item


def _listed(store: ObjectFolder, folder: str) -> Iterator[Found]:
    try:
        found = store.list(folder)
    except OSError as error:
        raise SourceError(f"{store.where(folder)} cannot be listed: {error}") from error
    for item in found:
        if reason := why_unsafe(item.name):
            raise SourceError(f"{store.where(folder)} cannot be listed: {item.name!r}: {reason}")
        yield item._replace(name=f"{folder}/{item.name}") if folder else item


def _open(address: str, options: Mapping[str, str] | None) -> Source:
    if is_remote(address):
        folder, _, file = address.rstrip("/").rpartition("/")
        named = _PART.fullmatch(file) if not folder.endswith(":/") else None
        if named:
            return _named_archive(ObjectFolder(folder, options), named["stem"])
        store = ObjectFolder(address, options)
        return _folder(store, store)
    path = Path(address).expanduser()
    if path.is_dir():
        return _folder(LocalFolder(path), LocalFolder(path, follow_links=True))
    if not path.exists():
        raise FileNotFoundError(path)
    named = _PART.fullmatch(path.name)
    # The folder is resolved but the file is not: a link's target may have another name.
    storage = LocalFolder(path.parent, follow_links=True)
    if named:
        return _named_archive(storage, named["stem"])
    return _archive(storage, _Parts(path.name))


def _named_archive(storage: Storage, stem: str) -> Source:
    archives = _archives(storage.list(""))
    if stem not in archives:
        raise FileNotFoundError(stem)
    return _archive(storage, archives[stem])


def _folder(storage: Storage, archive_storage: Storage) -> Source:
    items = storage.list("")
    # Listed with its own rule about links: archives may be links to anywhere.
    archives = _archives(archive_storage.list(""))
    of_archives = {name for parts in archives.values() for name in parts.files()}
    loose = tuple(item for item in items if item.name not in of_archives)
    if not archives:
        return Tree(storage)
    if len(archives) == 1 and not loose:
        (parts,) = archives.values()
        return _archive(archive_storage, parts)
    return _several(archive_storage, archives.values(), Tree(storage), loose)


def _several(
    storage: Storage, archives: Iterable[_Parts], tree: Tree, loose: tuple[Found, ...] = ()
) -> ArchiveFolder:
    opened: list[ZipSource] = []
    broken: list[Skipped] = []
    for parts in archives:
        try:
            opened.append(_archive(storage, parts, len(opened)))
        except (BrokenInputError, DatasetNotFoundError) as error:
            reason = error.reason if isinstance(error, BrokenInputError) else str(error)
            broken.append(Skipped(parts.last or parts.stem, reason, kind=ARCHIVE_DAMAGED))
    return ArchiveFolder(tree, tuple(opened), loose, tuple(broken))


def open_named(storage: Storage, names: Iterable[str]) -> ZipSource | ArchiveFolder:
    """Open archives where nothing can be listed.

    Args:
        storage: that holds them.
        names: of files; of an archive in parts the last one does, whose end tells the others.

    Raises:
        DatasetNotFoundError: no name is that of an archive, or an archive lacks its last part.
        BrokenInputError: the end of the only archive is damaged.
        OSError: the storage fails, or has no such file.
    """
    archives = _archives(Found(name) for name in names)
    if not archives:
        raise DatasetNotFoundError(
            f"no archive is named: expected NAME.zip, and got {', '.join(names) or 'nothing'}"
        )
    if len(archives) == 1:
        (parts,) = archives.values()
        return _archive(storage, parts)
    return _several(storage, archives.values(), Tree(storage))


@dataclass(slots=True)
class _Parts:
    """The files of one archive.

    Args:
        last: the file that ends the archive, ``""`` if it is missing.
        earlier: the parts before it, by number.
        stem: name of the archive without ``.zip``.
    """

    last: str = ""
    earlier: dict[int, str] = field(default_factory=dict)
    stem: str = ""

    def files(self) -> Iterable[str]:
        return (self.last, *self.earlier.values())

    def earlier_part(self, number: int) -> str:
        """Return the path of a part before the last, which may be missing."""
        return self.earlier.get(number, f"{self.stem}.z{number:02d}")


def _archives(items: Iterable[Found]) -> dict[str, _Parts]:
    """Return the archives of a folder, by their names without ``.zip``."""
    found: dict[str, _Parts] = defaultdict(_Parts)
    for item in items:
        name = _PART.fullmatch(item.name)
        if name is None or item.is_folder or item.trouble:
            continue
        parts = found[name["stem"]]
        parts.stem = name["stem"]
        if name["number"].lower() == "ip":
            parts.last = item.name
        else:
            parts.earlier[int(name["number"])] = item.name
    return dict(found)


def _archive(storage: Storage, parts: _Parts, number: int = 0) -> ZipSource:
    if not parts.last:
        raise DatasetNotFoundError(
            f"{storage.where(parts.stem)}.zip is missing: it is the last part of the archive that "
            f"{', '.join(sorted(parts.earlier.values()))} belong to and has its directory; "
            "download it into the same folder"
        )
    volumes, directory = read_end(storage, parts.last, parts.earlier_part)
    return ZipSource(volumes, directory, number)
