"""The end of a zip archive: of how many parts it is, and where its directory lies.

Archives of one file may start with other bytes, and archives whose parts were only strung together
(by ``cat``) are taken apart again.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from syncsam_lightning.data.sources.storage import Storage
from syncsam_lightning.data.sources.volumes import LostError, Part, Volumes
from syncsam_lightning.errors import BrokenInputError

_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_USUAL_TAIL = _END.size + _LOCATOR.size + _END64.size
_LONGEST_TAIL = _END.size + (1 << 16) + _LOCATOR.size + _END64.size
_MOST_PARTS = 10_000
_DIRECTORY_ENTRY = b"PK\1\2"


@dataclass(frozen=True, slots=True)
class Directory:
    """Where the directory of an archive lies.

    Args:
        part: in which it starts.
        offset: from the start of that part.
        size: bytes.
        count: files in it, ``modulus`` apart.
        modulus: what the count may be wrong by a multiple of; 0 if it is exact.
    """

    part: int
    offset: int
    size: int
    count: int
    modulus: int


@dataclass(frozen=True, slots=True)
class _End:
    """What the end records say, and where in the last file they start."""

    num_parts: int
    directory: Directory
    start: int


def read_end(
    storage: Storage, path: str, earlier: Callable[[int], str]
) -> tuple[Volumes, Directory]:
    """Read the end of an archive.

    Args:
        storage: where its files lie.
        path: of its only or its last part.
        earlier: gives the path of a part before it, counted from 1, be the file there or not; the
            archive itself says how many there are.

    Raises:
        BrokenInputError: the end is damaged or missing.
        OSError: the storage fails.
    """
    size = storage.size(path)
    for length in (_USUAL_TAIL, _LONGEST_TAIL):
        at = max(0, size - length)
        tail = storage.read_at(path, at, size - at)
        # Without a comment the records are the last bytes, which saves the rest of the tail.
        if tail[-_END.size :][:4] == b"PK\5\6":
            break
    end = _parse(storage, path, tail, at)
    if end.num_parts == 1:
        return _of_one_file(storage, path, size, end)
    if end.num_parts > _MOST_PARTS:
        reason = f"its end counts {end.num_parts} parts, so it is damaged; download it again"
        raise BrokenInputError(storage.where(path), reason)
    if (cut := _strung_together(storage, path, size, end)) is not None:
        return cut, end.directory
    names = [earlier(number) for number in range(1, end.num_parts)]
    parts = [Part(name, _size_or_none(storage, name)) for name in names]
    if all(part.size is None for part in parts):
        raise BrokenInputError(storage.where(path), _lonely(path, end.num_parts))
    return Volumes(storage, (*parts, Part(path, size))), end.directory


def _lonely(path: str, num_parts: int) -> str:
    stem = path[: -len(".zip")] if path.lower().endswith(".zip") else path
    last = num_parts - 1
    return (
        f"it is the last of {num_parts} parts, and the others ({stem}.z01 to {stem}.z{last:02d}) "
        "are not beside it: download them into the same folder"
    )


def _size_or_none(storage: Storage, path: str) -> int | None:
    try:
        return storage.size(path)
    except FileNotFoundError:
        return None


def _parse(storage: Storage, path: str, tail: bytes, at: int) -> _End:
    found = tail.rfind(b"PK\5\6")
    while found >= 0 and found + _END.size > len(tail):
        found = tail.rfind(b"PK\5\6", 0, found)
    if found < 0:
        raise BrokenInputError(
            storage.where(path),
            "it does not end as a zip archive does: it is truncated, still being downloaded, or "
            "something else; download it again",
        )
    _, disk, first, _, count, size, offset, _ = _END.unpack_from(tail, found)
    locator = found - _LOCATOR.size
    if locator < 0 or tail[locator : locator + 4] != b"PK\6\7":
        return _End(disk + 1, Directory(first, offset, size, count, 1 << 16), at + found)
    _, disk64, offset64, num_parts = _LOCATOR.unpack_from(tail, locator)
    # Usually it lies right before its locator, whatever bytes the file starts with.
    start = locator - _END64.size
    if start < 0 or tail[start : start + 4] != b"PK\6\6":
        start = offset64 - at
        if disk64 != num_parts - 1 or not 0 <= start <= locator - _END64.size:
            start = 0
    if tail[start : start + 4] != b"PK\6\6" or len(tail) < start + _END64.size:
        raise BrokenInputError(
            storage.where(path), "its zip64 end record is damaged; download it again"
        )
    _, _, _, _, _, first, _, count, size, offset = _END64.unpack_from(tail, start)
    return _End(max(1, num_parts), Directory(first, offset, size, count, 0), at + start)


def _of_one_file(storage: Storage, path: str, size: int, end: _End) -> tuple[Volumes, Directory]:
    directory = end.directory
    leading = end.start - directory.size - directory.offset
    # Something may lie between the directory and the end; the offset is right then.
    for start in (leading, 0):
        volumes = Volumes(storage, (Part(path, size - start, start),))
        if start >= 0 and (not directory.size or _is_directory(volumes, directory)):
            return volumes, directory
    raise BrokenInputError(
        storage.where(path),
        f"its directory is not where its end says, at {directory.offset} bytes: some of the file "
        "is missing; download it again",
    )


def _strung_together(storage: Storage, path: str, size: int, end: _End) -> Volumes | None:
    """Return the parts of a file that is all of them in a row, None if it isn't.

    All parts but the last are of one size, which follows from where the directory is found.
    """
    directory = end.directory
    before = end.start - directory.size - directory.offset
    if not 0 < directory.part < end.num_parts or before <= 0 or before % directory.part:
        return None
    each = before // directory.part
    last = size - each * (end.num_parts - 1)
    if last <= 0:
        return None
    sizes = [each] * (end.num_parts - 1) + [last]
    parts = [Part(path, length, each * number) for number, length in enumerate(sizes)]
    volumes = Volumes(storage, tuple(parts))
    return volumes if _is_directory(volumes, directory) else None


def _is_directory(volumes: Volumes, directory: Directory) -> bool:
    try:
        return volumes.read(directory.part, directory.offset, 4) == _DIRECTORY_ENTRY
    except LostError:
        return False
