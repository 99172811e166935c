"""What an archive declares of the sizes of its files."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from syncsam_lightning.data.sources import Entry, EntryIndex, open_source


def test_a_small_file_that_deflate_has_made_longer_is_read(
    tmp_path: Path, archive, member, content
):
    # Flushed after every byte, which takes about eight bytes for each.
    data = bytes(range(256)) * 20
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = b"".join(
        deflater.compress(data[at : at + 1]) + deflater.flush(zlib.Z_SYNC_FLUSH)
        for at in range(len(data))
    )
    packed += deflater.flush()
    assert len(packed) > 7 * len(data)

    class Flushed(member):
        packed = b""

    Flushed.packed = packed
    whole, lost = content(open_source(archive([Flushed(b"x", data)]).save(tmp_path)))
    assert (whole, lost) == ({"x": data}, {})


@pytest.mark.parametrize("size", [(1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_a_size_beyond_all_sizes_is_told_when_the_file_is_read(
    tmp_path: Path, archive, member, content, size: int
):
    members = [member(b"x", b"1", declared=size), member(b"y", b"2")]
    source = open_source(archive(members, wide=True).save(tmp_path))
    EntryIndex(entry for entry in source.entries() if isinstance(entry, Entry))
    whole, lost = content(source)
    assert whole == {"y": b"2"}
    assert list(lost) == ["x"]
