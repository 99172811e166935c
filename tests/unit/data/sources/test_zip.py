"""Archives of one and of several parts, whole ones and damaged ones."""

from __future__ import annotations

import pickle
import shutil
import struct
import subprocess
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest

from syncsam_lightning.data.sources import open_source
from syncsam_lightning.data.sources.zip_source import ZipSource
from syncsam_lightning.errors import BrokenInputError, DatasetNotFoundError


@pytest.mark.parametrize("wide", [False, True], ids=["zip32", "zip64"])
@pytest.mark.parametrize("part_size", [0, 9000, 1000, 333], ids=["one", "two", "many", "tiny"])
def test_every_file_of_a_whole_archive_is_read(
    tmp_path: Path, archive, files, content, part_size: int, wide: bool
):
    written = archive(files, part_size, wide=wide)
    assert (len(written.parts) > 1) == bool(part_size)
    source = open_source(written.save(tmp_path))
    assert isinstance(source, ZipSource)
    assert content(source) == (files, {})
    assert [entry.name for entry in source.entries()] == list(files)


@pytest.mark.parametrize("suffix", ["", "a.zip", "a.z01", "a.z03"])
def test_the_folder_and_any_part_name_the_same_archive(
    tmp_path: Path, archive, files, content, suffix: str
):
    archive(files, 2000).save(tmp_path)
    assert content(open_source(tmp_path / suffix)) == (files, {})


def test_a_file_recorded_at_the_end_of_a_part_is_at_the_start_of_the_next(
    tmp_path: Path, archive, member, content
):
    # A local header of 30 + 1 bytes: the first file ends with the part, whose first 4 are taken.
    members = [member(b"x", b"1" * 65, method=0), member(b"y", b"2" * 40, method=0)]
    written = archive(members, 100, at_end_of_part=True)
    assert members[1].place == (0, 100)
    assert bytes(written.parts[1][:4]) == b"PK\3\4"
    whole, lost = content(open_source(written.save(tmp_path)))
    assert (whole, lost) == ({"x": b"1" * 65, "y": b"2" * 40}, {})


@pytest.mark.skipif(not shutil.which("zip"), reason="the zip program is not installed")
@pytest.mark.parametrize("join", [False, True], ids=["split", "strung together"])
def test_what_the_zip_program_splits_is_read(tmp_path: Path, files, content, join: bool):
    for name, data in files.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        # Enough for several parts of 64 KiB, the smallest that the program makes.
        (tmp_path / "in" / name).write_bytes(data * 20)
    (tmp_path / "out").mkdir()
    subprocess.run(
        ["zip", "-q", "-0", "-r", "-s", "64k", tmp_path / "out" / "a.zip", "r"],
        cwd=tmp_path / "in", check=True,
    )  # fmt: skip
    parts = sorted((tmp_path / "out").iterdir())
    parts = parts[1:] + parts[:1] if parts[0].suffix == ".zip" else parts
    assert len(parts) > 2
    root = tmp_path / "out"
    if join:
        parts.sort(key=lambda path: (path.suffix == ".zip", path.suffix))
        root = tmp_path / "whole.zip"
        root.write_bytes(b"".join(path.read_bytes() for path in parts))
    whole, lost = content(open_source(root))
    assert lost == {}
    assert whole == {name: data * 20 for name, data in files.items()}


def test_what_python_writes_after_leading_bytes_is_read(tmp_path: Path, files, content):
    path = tmp_path / "b.zip"
    path.write_bytes(b"#!/bin/sh\n" * 9)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as written:
        for name, data in files.items():
            written.writestr(name, data)
    # zipfile counts from the start of the file; archives that were prepended to count from theirs.
    assert content(open_source(path)) == (files, {})
    path.write_bytes(b"more" + path.read_bytes())
    assert content(open_source(path)) == (files, {})


def test_a_comment_that_looks_like_an_end_is_no_end(tmp_path: Path, files, content):
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w") as written:
        for name, data in files.items():
            written.writestr(name, data)
        written.comment = b"ends with PK\5\6"
    assert content(open_source(path)) == (files, {})


def test_a_missing_part_costs_exactly_what_lies_in_it(tmp_path: Path, archive, files, content):
    written = archive(files, 2000)
    lost_part = 2
    expected = {
        member.name.decode()
        for member in written.members
        if member.place[0] == lost_part
        or (member.place[0] == lost_part - 1 and member.place[1] + len(member.local()) > 2000)
    }
    assert 2 < len(expected) < len(files) - 5
    written.save(tmp_path)
    (tmp_path / "a.z03").unlink()
    whole, lost = content(open_source(tmp_path))
    assert set(lost) == expected
    assert set(lost.values()) == {"a.z03 is missing; download it"}
    assert whole == {name: data for name, data in files.items() if name not in expected}


def test_a_truncated_part_costs_exactly_what_was_cut_off(tmp_path: Path, archive, files, content):
    written = archive(files, 2000)
    expected = {
        member.name.decode()
        for member in written.members
        if member.place[0] == 1 and member.place[1] + len(member.local()) > 900
    }
    assert len(expected) > 2
    written.parts[1] = written.parts[1][:900]
    whole, lost = content(open_source(written.save(tmp_path)))
    assert set(lost) == expected
    assert all("a.z02" in reason for reason in lost.values())
    assert sum("truncated" in reason for reason in lost.values()) >= len(expected) - 2
    assert whole == {name: data for name, data in files.items() if name not in expected}


def test_the_last_part_missing_is_named(tmp_path: Path, archive, files):
    archive(files, 2000).save(tmp_path)
    (tmp_path / "a.zip").unlink()
    for address in (tmp_path, tmp_path / "a.z02"):
        with pytest.raises(DatasetNotFoundError, match=r"/a\.zip is missing: it is the last part"):
            open_source(address)


def test_the_last_part_alone_tells_what_is_missing(tmp_path: Path, archive, files):
    written = archive(files, 2000)
    written.save(tmp_path)
    for number in range(1, len(written.parts)):
        (tmp_path / f"a.z{number:02d}").unlink()
    last = len(written.parts) - 1
    with pytest.raises(BrokenInputError) as error:
        open_source(tmp_path)
    assert error.value.path == str(tmp_path / "a.zip")
    assert f"the last of {last + 1} parts" in error.value.reason
    assert f"(a.z01 to a.z{last:02d})" in error.value.reason


@pytest.mark.parametrize("keep", [0, 10, 100, -1, -30])
def test_a_truncated_last_part_is_refused(tmp_path: Path, archive, files, keep: int):
    written = archive(files)
    written.parts[-1] = written.parts[-1][:keep]
    written.save(tmp_path)
    with pytest.raises(BrokenInputError, match="truncated") as error:
        open_source(tmp_path)
    assert error.value.path == str(tmp_path / "a.zip")


def test_a_file_cut_at_its_front_is_refused(tmp_path: Path, archive, files):
    written = archive(files)
    written.parts[0] = written.parts[0][500:]
    written.save(tmp_path)
    with pytest.raises(BrokenInputError, match="some of the file is missing"):
        open_source(tmp_path)


def test_a_directory_damaged_in_the_middle_says_how_far_it_goes(
    tmp_path: Path, archive, files, content
):
    written = archive(files)
    starts = []
    at = -1
    while (at := written.parts[-1].find(b"PK\1\2", at + 1)) >= 0:
        starts.append(at)
    written.parts[-1][starts[12]] ^= 0xFF
    written.save(tmp_path)
    with pytest.raises(BrokenInputError, match="damaged after 12 of 40 files"):
        content(open_source(tmp_path))


def test_a_count_that_is_wrong_is_noticed(tmp_path: Path, archive, files, content):
    archive(files, count=41).save(tmp_path)
    with pytest.raises(BrokenInputError, match="its end counts 41 files"):
        content(open_source(tmp_path))


def test_a_count_beyond_16_bits_wraps_around(tmp_path: Path, archive, member):
    written = archive([member(b"x", b"1", method=0)])
    entry = written.members[0].central(False)
    directory = entry * 65_540
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 4, 4, len(directory), 32, 0)
    (tmp_path / "a.zip").write_bytes(written.members[0].local() + directory + end)
    assert sum(1 for _ in open_source(tmp_path).entries()) == 65_540


def damaged(members, number: int, reason: str, archive, content, folder: Path) -> None:
    """Check that one member is lost for a reason, and that all the others are whole."""
    whole, lost = content(open_source(archive(members).save(folder)))
    (found,) = lost.items()
    assert found[0] == members[number].name.decode()
    assert reason in found[1]
    assert found[1].endswith("(stored in a.zip)")
    assert set(whole) == {m.name.decode() for m in members} - {found[0]}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"flags": 1}, "it is encrypted"),
        ({"method": 12}, "its compression 12 is not supported"),
        ({"crc": 7}, "its checksum is wrong"),
        ({"local_name": b"z"}, "another file is where the directory says"),
        ({"declared": 99}, "it has more than the 99 bytes that it declares"),
        ({"declared": 201}, "it has 200 bytes instead of 201"),
        ({"declared": 201, "method": 0}, "it declares 201 bytes, which 200 cannot hold"),
        ({"declared": 1 << 20}, "it declares 1048576 bytes, which"),
        ({"declared": 99, "method": 0}, "it declares 99 bytes, for which 200 are too many"),
    ],
)
def test_a_file_that_lies_about_itself_is_broken(
    tmp_path: Path, archive, member, content, change, reason: str
):
    members = [member(b"%d" % number, b"ab" * 100) for number in range(3)]
    members[1] = member(b"1", b"ab" * 100, **change)
    damaged(members, 1, reason, archive, content, tmp_path)


def test_a_bomb_is_not_inflated_beyond_what_it_declares(tmp_path: Path, archive, member):
    bomb = member(b"bomb", bytes(10 << 20), declared=60_000)
    source = open_source(archive([bomb]).save(tmp_path))
    (entry,) = source.entries()
    tracemalloc.start()
    with pytest.raises(BrokenInputError, match="more than the 60000 bytes"):
        source.read(entry)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 << 20


def test_a_file_too_large_to_read_at_once_is_refused(tmp_path: Path, archive, member, monkeypatch):
    monkeypatch.setattr("syncsam_lightning.data.sources.zip_source.MAX_READ", 100)
    source = open_source(archive([member(b"x", b"ab" * 100)]).save(tmp_path))
    (entry,) = source.entries()
    with pytest.raises(BrokenInputError, match="200 bytes are too many to read at once"):
        source.read(entry)
    assert source.open(entry).read() == b"ab" * 100


@pytest.mark.parametrize("method", [0, 8])
def test_a_flipped_byte_is_noticed_wherever_it_is(tmp_path: Path, archive, member, content, method):
    data = bytes(range(250)) * 2
    members = [member(b"x%d" % number, data, method=method) for number in range(2)]
    for at in range(4):
        written = archive(members)
        begin = written.members[1].place[1] + 32
        written.parts[0][begin + at * len(written.members[1].packed) // 4] ^= 0x10
        whole, lost = content(open_source(written.save(tmp_path / str(at))))
        assert (whole, set(lost)) == ({"x0": data}, {"x1"})


def test_a_wrong_local_header_is_noticed(tmp_path: Path, archive, files, content):
    written = archive(files)
    at = written.members[5].place[1]
    written.parts[0][at : at + 4] = b"PK\1\2"
    _, lost = content(open_source(written.save(tmp_path)))
    assert lost == {"r/images/05.png": "it is not where the directory says (stored in a.zip)"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (b"../x", "its name leaves the release"),
        (b"a/../../x", "its name leaves the release"),
        (b"a/..", "its name leaves the release"),
        (b"/etc/passwd", "its name is an absolute path"),
        (b"C:/x", "its name is an absolute path"),
        (b"c:x", "its name is an absolute path"),
        (b"a\\b", "its name holds a backslash"),
        (b"..\\x", "its name holds a backslash"),
        (b"a\0b", "its name holds a NUL"),
        (b"a//b", "its name is no plain path"),
        (b"./a", "its name is no plain path"),
        (b"", "its name is no plain path"),
        (b"a/\xff", "its name is not valid text"),
    ],
)
def test_an_unsafe_name_is_listed_and_never_read(
    tmp_path: Path, archive, member, content, name: bytes, reason: str
):
    members = [member(b"a", b"1"), member(name, b"2", flags=0x800), member(b"b", b"3")]
    whole, lost = content(open_source(archive(members).save(tmp_path)))
    assert whole == {"a": b"1", "b": b"3"}
    assert list(lost.values()) == [reason]


def test_a_link_in_an_archive_is_listed(tmp_path: Path, archive, member, content):
    members = [member(b"a", b"/etc/passwd", attributes=0o120777 << 16), member(b"b", b"3")]
    whole, lost = content(open_source(archive(members).save(tmp_path)))
    assert (whole, lost) == ({"b": b"3"}, {"a": "it is a symbolic link"})


def test_folders_in_an_archive_are_passed_over(tmp_path: Path, archive, member, content):
    members = [member(b"r/", b""), member(b"r/a", b"1")]
    assert content(open_source(archive(members).save(tmp_path))) == ({"r/a": b"1"}, {})


def unicode_path(raw: bytes, name: str) -> bytes:
    field = struct.pack("<BL", 1, zlib.crc32(raw)) + name.encode()
    return struct.pack("<2H", 0x7075, len(field)) + field


@pytest.mark.parametrize(
    "options",
    [
        {"name": "μ-RegPro/ü.png".encode(), "flags": 0x800},
        {"name": "μ-RegPro/ü.png".encode()},
        {
            "name": b"#U03bc-RegPro/x.png",
            "extra": unicode_path(b"#U03bc-RegPro/x.png", "μ-RegPro/ü.png"),
            "local_extra": unicode_path(b"#U03bc-RegPro/x.png", "μ-RegPro/ü.png"),
        },
    ],
    ids=["flag", "no flag", "field"],
)
def test_a_name_outside_ascii_is_read(tmp_path: Path, archive, member, content, options):
    written = archive([member(data=b"1", **options)])
    assert content(open_source(written.save(tmp_path))) == ({"μ-RegPro/ü.png": b"1"}, {})


def test_a_name_of_an_old_program_is_code_page_437(tmp_path: Path, archive, member, content):
    written = archive([member("é.png".encode("cp437"), b"1")])
    assert content(open_source(written.save(tmp_path))) == ({"é.png": b"1"}, {})


def test_a_header_with_long_additions_is_read(tmp_path: Path, archive, member, content):
    members = [member(b"a", b"123" * 9, local_extra=b"\x99\x99\xe8\x03" + bytes(1000))]
    members.append(member(b"b", b"4"))
    assert content(open_source(archive(members).save(tmp_path)))[0] == {"a": b"123" * 9, "b": b"4"}


def test_a_source_and_its_entries_are_small_and_work_after_pickling(tmp_path: Path, archive, files):
    source = open_source(archive(files, 2000).save(tmp_path))
    entries = list(source.entries())
    source.read(entries[0])
    packed = pickle.dumps((source, entries))
    assert len(packed) < 1500 + 110 * len(entries)
    copy, again = pickle.loads(packed)
    assert again == entries
    assert [copy.read(entry) for entry in again] == list(files.values())


@pytest.mark.parametrize("method", [0, 8])
def test_a_file_is_streamed_in_pieces(tmp_path: Path, archive, member, method: int):
    data = bytes(range(251)) * 3000
    source = open_source(archive([member(b"x", data, method=method)], 20_000).save(tmp_path))
    (entry,) = source.entries()
    with source.open(entry) as file:
        pieces = iter(lambda: file.read(10_007), b"")
        assert b"".join(pieces) == data


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"crc": 7}, "its checksum is wrong"),
        ({"declared": 500_000}, "it has more than the 500000 bytes"),
        ({"declared": 700_000}, "it has 600000 bytes instead of 700000"),
    ],
)
def test_a_damaged_file_is_noticed_when_streamed(
    tmp_path: Path, archive, member, change, reason: str
):
    data = bytes(zlib.crc32(b"%d" % number) & 0xFF for number in range(6000)) * 100
    source = open_source(archive([member(b"x", data, **change)]).save(tmp_path))
    (entry,) = source.entries()
    with source.open(entry) as file:
        pieces = iter(lambda: file.read(1 << 16), b"")
        with pytest.raises(BrokenInputError, match=reason):
            list(pieces)
