"""The directory of a zip archive, entry by entry, in constant memory."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from syncsam_lightning.data.sources.names import why_unsafe
from syncsam_lightning.data.sources.source import Entry, Position
from syncsam_lightning.data.sources.volumes import LostError, Volumes
from syncsam_lightning.data.sources.zip_end import Directory
from syncsam_lightning.errors import ARCHIVE_DAMAGED, PART_MISSING, UNREADABLE, BrokenInputError
from syncsam_lightning.records import Skipped

LOCAL_HEADER = 30
ENCRYPTED, UTF8 = 0x1, 0x800

_ENTRY = struct.Struct("<4s4B4H3L5H2L")
_LONGEST_ENTRY = _ENTRY.size + 3 * 0xFFFF
_CHUNK = 1 << 20
_ALL_32, _ALL_16 = 0xFFFFFFFF, 0xFFFF
_MOST = (1 << 63) - 1
_UNIX, _LINK = 3, 0xA
_ZIP64, _UNICODE_PATH = 0x0001, 0x7075


def read_directory(
    volumes: Volumes, directory: Directory, archive: int, where: str
) -> Iterator[Entry | Skipped]:
    """Yield the files of an archive in the order of its directory, which is that of storage.

    Folders are passed over; what cannot be read, or must not be, is yielded with its reason.

    Args:
        volumes: the parts of the archive.
        directory: where it lies.
        archive: number to put into positions.
        where: address of the archive, for messages.

    Raises:
        BrokenInputError: the directory is damaged; the message says after how many files.
    """
    found = 0
    buffer, at = b"", 0
    part, offset, left = directory.part, directory.offset, directory.size
    while True:
        if left and len(buffer) - at < _LONGEST_ENTRY:
            count = min(left, _CHUNK)
            try:
                chunk = volumes.read(part, offset, count)
                part, offset = volumes.advance(part, offset, count)
            except (LostError, OSError) as error:
                raise _damaged(where, found, directory, str(error)) from error
            buffer, at, left = buffer[at:] + chunk, 0, left - count
        if at >= len(buffer):
            break
        try:
            end, item = _parse(volumes, buffer, at, archive)
        except (ValueError, struct.error) as error:
            raise _damaged(where, found, directory, str(error)) from error
        found += 1
        at = end
        if item is not None:
            yield item
    expected = directory.count
    if found != expected and (not directory.modulus or found % directory.modulus != expected):
        raise _damaged(where, found, directory, f"its end counts {expected} files")


def _damaged(where: str, found: int, directory: Directory, reason: str) -> BrokenInputError:
    return BrokenInputError(
        where,
        f"its directory is damaged after {found} of {directory.count} files ({reason}): download "
        "the last part of the archive again",
        kind=ARCHIVE_DAMAGED,
    )


def _parse(
    volumes: Volumes, buffer: bytes, at: int, archive: int
) -> tuple[int, Entry | Skipped | None]:
    (
        signature, _, system, _, _, flags, method, _, _, crc, stored, size,
        name_length, extra_length, comment_length, part, _, attributes, offset,
    ) = _ENTRY.unpack_from(buffer, at)  # fmt: skip
    if signature != b"PK\1\2":
        raise ValueError("no entry where one should start")
    start = at + _ENTRY.size
    middle = start + name_length
    end = middle + extra_length + comment_length
    if end > len(buffer):
        raise ValueError("its last entry is cut off")
    raw, extra = buffer[start:middle], buffer[middle : middle + extra_length]
    if _ALL_32 in (size, stored, offset) or part == _ALL_16:
        size, stored, offset, part = _wide(extra, size, stored, offset, part)
    name = decode_name(raw, flags, extra)
    if name.endswith("/") and not size:
        return end, None
    if reason := why_unsafe(name):
        return end, Skipped(name, reason, kind="unsafe name")
    if system == _UNIX and attributes >> 28 == _LINK:
        return end, Skipped(name, "it is a symbolic link", kind="unsafe name")
    if size > _MOST:
        return end, Skipped(name, f"it declares {size} bytes", kind=UNREADABLE)
    if reason := volumes.loss(part, offset, LOCAL_HEADER + name_length + stored):
        return end, Skipped(name, reason, kind=PART_MISSING)
    position = Position(archive, part, offset, stored, crc, method, flags)
    return end, Entry(name, size, position)


def _wide(
    extra: bytes, size: int, stored: int, offset: int, part: int
) -> tuple[int, int, int, int]:
    """Return the values with those that did not fit taken from the zip64 field."""
    field = _extra_field(extra, _ZIP64)
    if field is None:
        # These may be the values themselves: archives without zip64 can be as large as that.
        return size, stored, offset, part
    at = 0
    values = []
    for value, code, full in (
        (size, "<Q", _ALL_32),
        (stored, "<Q", _ALL_32),
        (offset, "<Q", _ALL_32),
        (part, "<L", _ALL_16),
    ):
        if value == full:
            (value,) = struct.unpack_from(code, field, at)
            at += struct.calcsize(code)
        values.append(value)
    return values[0], values[1], values[2], values[3]


def _extra_field(extra: bytes, wanted: int) -> bytes | None:
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == wanted:
            return extra[at + 4 : at + 4 + length]
        at += 4 + length
    return None


def decode_name(raw: bytes, flags: int, extra: bytes) -> str:
    """Return a name as text.

    Names outside ASCII are UTF-8 by their flag, by a field of their own, or, where they are valid
    UTF-8, by all likelihood; what is left is code page 437. Bytes that fit nothing become
    surrogates, which no safe name has.
    """
    if b"up" in extra and (field := _extra_field(extra, _UNICODE_PATH)) and len(field) >= 5:
        version, crc = struct.unpack_from("<BL", field)
        if version == 1 and crc == zlib.crc32(raw):
            return field[5:].decode("utf-8", "surrogateescape")
    if flags & UTF8:
        return raw.decode("utf-8", "surrogateescape")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp437")
