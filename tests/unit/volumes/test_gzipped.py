from __future__ import annotations

import gzip
import zlib

import numpy as np
import pytest

from syncsam_lightning.volumes import gzipped
from syncsam_lightning.volumes.gzipped import inflated

DATA = bytes(range(256)) * 4000  # a megabyte


def bgzipped(data: bytes, size: int = 65_280) -> bytes:
    """As ``bgzip`` does: a member for each block, and one without content at the end."""
    blocks = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(map(gzip.compress, [*blocks, b""]))


@pytest.mark.parametrize("size", [100, 65_280, len(DATA)])
def test_all_members_are_unzipped(size: int):
    assert inflated(bgzipped(DATA, size), len(DATA) + 1) == DATA


def test_what_is_not_zipped_stays():
    assert inflated(DATA, 3) is DATA


def test_what_follows_the_last_member_is_padding():
    assert inflated(gzip.compress(DATA) + bytes(512), len(DATA) + 1) == DATA


@pytest.mark.parametrize("zipped", [gzip.compress(DATA), bgzipped(DATA)])
def test_no_more_is_made_than_was_asked_for(zipped: bytes):
    assert len(inflated(zipped, len(DATA) + 1)) == len(DATA)
    with pytest.raises(EOFError, match="holds more"):
        inflated(zipped, len(DATA) - 1)


@pytest.mark.parametrize("zipped", [gzip.compress(DATA), bgzipped(DATA)])
@pytest.mark.parametrize("kept", [5, 0.5, -1, -9])
def test_data_that_ends_too_early_is_told(zipped: bytes, kept: float):
    cut = int(kept * len(zipped)) if 0 < kept < 1 else int(kept)
    with pytest.raises(EOFError, match="ends too early"):
        inflated(zipped[:cut], len(DATA) + 1)


def test_damage_in_any_member_is_noticed():
    zipped = bytearray(bgzipped(DATA))
    zipped[len(zipped) // 2] ^= 0xFF
    with pytest.raises((zlib.error, EOFError)):
        inflated(bytes(zipped), len(DATA) + 1)


def test_each_byte_is_looked_at_a_bounded_number_of_times(monkeypatch: pytest.MonkeyPatch):
    seen = 0
    make = zlib.decompressobj

    class Counting:
        def __init__(self, wbits: int) -> None:
            self._inner = make(wbits=wbits)

        def decompress(self, data: bytes, most: int) -> bytes:
            nonlocal seen
            seen += len(data)
            return self._inner.decompress(data, most)

        def __getattr__(self, name: str) -> object:
            return getattr(self._inner, name)

    noise = np.random.default_rng(0).bytes(1 << 22)
    zipped = bgzipped(noise)
    monkeypatch.setattr(gzipped.zlib, "decompressobj", Counting)
    assert inflated(zipped, len(noise) + 1) == noise
    assert seen < 3 * len(zipped)
