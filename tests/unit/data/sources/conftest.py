"""Archives written byte by byte, so that everything in them can be wrong in a known way."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.web_server import WebServer


@dataclass
class Member:
    """A file of an archive; what is None is written as it should be."""

    name: bytes
    data: bytes = b""
    method: int = 8
    flags: int = 0
    declared: int | None = None
    crc: int | None = None
    local_name: bytes | None = None
    local_extra: bytes = b""
    extra: bytes = b""
    system: int = 3
    attributes: int = 0o100644 << 16
    place: tuple[int, int] = field(default=(0, 0), init=False)

    @property
    def packed(self) -> bytes:
        if self.method != 8:
            return self.data
        deflater = zlib.compressobj(6, zlib.DEFLATED, -15)
        return deflater.compress(self.data) + deflater.flush()

    @property
    def checksum(self) -> int:
        return zlib.crc32(self.data) if self.crc is None else self.crc

    @property
    def size(self) -> int:
        return len(self.data) if self.declared is None else self.declared

    def local(self) -> bytes:
        name = self.name if self.local_name is None else self.local_name
        head = struct.pack(
            "<4s5H3L2H",
            b"PK\3\4", 20, self.flags, self.method, 0, 0,
            self.checksum, len(self.packed), self.size & 0xFFFFFFFF, len(name),
            len(self.local_extra),
        )  # fmt: skip
        return head + name + self.local_extra + self.packed

    def central(self, wide: bool) -> bytes:
        part, offset = self.place
        sizes = [self.size, len(self.packed)]
        extra = self.extra
        if wide:
            extra += struct.pack("<2H3QL", 1, 28, *sizes, offset, part)
            sizes, part, offset = [0xFFFFFFFF] * 2, 0xFFFF, 0xFFFFFFFF
        head = struct.pack(
            "<4s4B4H3L5H2L",
            b"PK\1\2", 30, self.system, 20, 0, self.flags, self.method, 0, 0,
            self.checksum, sizes[1], sizes[0], len(self.name), len(extra), 3, part, 0,
            self.attributes, offset,
        )  # fmt: skip
        return head + self.name + extra + b"abc"


@dataclass
class Archive:
    """A written archive: its parts in order, the last of which is the ``.zip``."""

    parts: list[bytearray]
    members: list[Member]

    def save(self, folder: Path, stem: str = "a") -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        last = len(self.parts)
        for number, content in enumerate(self.parts, start=1):
            suffix = "zip" if number == last else f"z{number:02d}"
            (folder / f"{stem}.{suffix}").write_bytes(content)
        return folder


def write_archive(
    members: Mapping[str, bytes] | list[Member],
    part_size: int = 0,
    *,
    wide: bool = False,
    at_end_of_part: bool = False,
    count: int | None = None,
) -> Archive:
    """Write an archive.

    Args:
        members: content by name, or everything about each file.
        part_size: bytes of each part but the last; 0 for one part.
        wide: whether every number goes into zip64 fields.
        at_end_of_part: record what starts a part at the end of the part before.
        count: of files, if not the true one.
    """
    files = (
        members
        if isinstance(members, list)
        else [Member(name.encode(), data) for name, data in members.items()]
    )
    parts = [bytearray(b"PK\7\10" if part_size else b"")]

    def address() -> tuple[int, int]:
        return len(parts) - 1, len(parts[-1])

    def put(data: bytes) -> None:
        while data:
            room = part_size - len(parts[-1]) if part_size else len(data)
            if room:
                parts[-1] += data[:room]
                data = data[room:]
            else:
                parts.append(bytearray())

    for member in files:
        if part_size and len(parts[-1]) == part_size and not at_end_of_part:
            parts.append(bytearray())
        member.place = address()
        put(member.local())
    directory = b"".join(member.central(wide) for member in files)
    part, offset = address()
    if part_size and offset == part_size:
        part, offset = part + 1, 0
    put(directory)
    # The end must lie in one piece: the last part is where it is looked for.
    if part_size and len(parts[-1]) + 120 > part_size:
        parts[-1] += b"\0" * (part_size - len(parts[-1]))
        parts.append(bytearray())
    total = len(files) if count is None else count
    last = len(parts) - 1
    if wide:
        place = address()
        end = (last, part, total, total, len(directory), offset)
        put(struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, *end))
        put(struct.pack("<4sLQL", b"PK\6\7", *place, len(parts)))
        put(struct.pack("<4s4H2LH", b"PK\5\6", *[0xFFFF] * 4, *[0xFFFFFFFF] * 2, 0))
    else:
        count_16 = total & 0xFFFF
        end = (last, part, count_16, count_16, len(directory), offset)
        put(struct.pack("<4s4H2LH", b"PK\5\6", *end, 0))
    return Archive(parts, files)


@pytest.fixture
def archive() -> Callable[..., Archive]:
    return write_archive


@pytest.fixture
def member() -> Callable[..., Member]:
    return Member


@pytest.fixture
def files() -> dict[str, bytes]:
    """Forty files of some hundred bytes that don't compress."""
    return {
        f"r/images/{number:02d}.png": bytes(
            zlib.crc32(b"%d-%d" % (number, at)) & 0xFF for at in range(150 + 7 * number)
        )
        for number in range(40)
    }


@pytest.fixture
def content() -> Callable[[Any], tuple[dict[str, bytes], dict[str, str]]]:
    """Read all of a source: bytes by name, and reasons by name."""
    from syncsam_lightning.errors import BrokenInputError
    from syncsam_lightning.records import Skipped

    def read(source: Any) -> tuple[dict[str, bytes], dict[str, str]]:
        whole: dict[str, bytes] = {}
        lost: dict[str, str] = {}
        for entry in source.entries():
            if isinstance(entry, Skipped):
                lost[entry.path] = entry.reason
                continue
            try:
                whole[entry.name] = source.read(entry)
            except BrokenInputError as error:
                # By the path of the error, which must be the name.
                lost[error.path] = error.reason
        return whole, lost

    return read


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """A web server with an empty folder, read without long pauses, with no tokens and proxies."""
    from syncsam_lightning.data.sources.web_files import WebFolder

    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("HF_TOKEN", "HF_ENDPOINT", "SYNCSAM_TOKEN", "SYNCSAM_TOKEN_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(WebFolder, "first_pause", 0.0)
    folder = tmp_path / "served"
    folder.mkdir()
    with WebServer(folder) as running:
        yield running


@pytest.fixture
def elsewhere(server: WebServer) -> Iterator[WebServer]:
    """The server to which the other one leads, under another name."""
    with WebServer(server.folder, host="localhost", signature="SECRET-1") as second:
        server.redirect_to = second
        yield second
