"""Ranges of files that lie elsewhere are kept once, and never mixed up."""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncsam_lightning.data.sources.shelf import Shelf

CONTENT = np.random.default_rng(0).integers(0, 256, 400, np.uint8).tobytes()
NAME = "raw/a b.z01"


def add(shelf: Shelf, *ranges: tuple[int, int]) -> None:
    with shelf.adding(NAME) as adder:
        for begin, end in ranges:
            adder.add(begin, CONTENT[begin:end])


def test_what_was_added_is_read_without_a_gap_and_no_further(tmp_path: Path):
    shelf = Shelf(tmp_path)
    add(shelf, (10, 20), (30, 40), (20, 25))
    assert shelf.read(NAME, 12, 100) == CONTENT[12:25]
    assert shelf.read(NAME, 12, 3) == CONTENT[12:15]
    assert shelf.read(NAME, 25, 5) == b""
    assert shelf.read(NAME, 39, 9) == CONTENT[39:40]
    assert shelf.read("another", 12, 3) == b""


def test_missing_are_the_gaps(tmp_path: Path):
    shelf = Shelf(tmp_path)
    add(shelf, (30, 40), (10, 20))
    assert [*shelf.missing(NAME, 0, 50)] == [(0, 10), (20, 30), (40, 50)]
    assert [*shelf.missing(NAME, 12, 18)] == []
    assert [*shelf.missing(NAME, 15, 35)] == [(20, 30)]
    assert [*shelf.missing("another", 3, 5)] == [(3, 5)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 399), st.integers(1, 80)), max_size=12), st.data())
def test_adding_what_is_missing_gives_every_byte(tmp_path_factory, wanted, data):
    folder = tmp_path_factory.mktemp("shelf")
    for begin, length in wanted:
        end = min(begin + length, len(CONTENT))
        shelf = Shelf(folder)
        add(shelf, *shelf.missing(NAME, begin, end))
        assert shelf.read(NAME, begin, end - begin) == CONTENT[begin:end]
        assert not [*shelf.missing(NAME, begin, end)]
    kept = sum(path.stat().st_size for path in folder.glob("*.bytes"))
    assert kept == len({n for b, size in wanted for n in range(b, min(b + size, 400))})


def test_another_process_reads_it(tmp_path: Path):
    add(Shelf(tmp_path), (10, 20))
    assert pickle.loads(pickle.dumps(Shelf(tmp_path))).read(NAME, 10, 10) == CONTENT[10:20]


def test_what_a_kill_left_half_written_does_not_count(tmp_path: Path):
    shelf = Shelf(tmp_path)
    add(shelf, (10, 20))
    (data,), (ranges,) = tmp_path.glob("*.bytes"), tmp_path.glob("*.ranges")
    data.write_bytes(data.read_bytes() + b"more of it")
    ranges.write_bytes(ranges.read_bytes() + b"half a rec")
    shelf = Shelf(tmp_path)
    assert [*shelf.missing(NAME, 0, 30)] == [(0, 10), (20, 30)]
    add(shelf, (20, 30))
    assert shelf.read(NAME, 10, 20) == CONTENT[10:30]


def test_bytes_that_are_gone_are_not_made_up(tmp_path: Path):
    shelf = Shelf(tmp_path)
    add(shelf, (10, 20))
    assert shelf.read(NAME, 10, 10)
    (data,) = tmp_path.glob("*.bytes")
    data.write_bytes(data.read_bytes()[:4])
    assert shelf.read(NAME, 10, 10) == CONTENT[10:14]
    assert shelf.read(NAME, 16, 2) == b""
    assert [*Shelf(tmp_path).missing(NAME, 10, 20)] == [(10, 20)]


def test_another_version_of_a_file_is_never_served(tmp_path: Path):
    shelf = Shelf(tmp_path)
    assert not shelf.expect(NAME, "400 a")
    add(shelf, (10, 20))
    assert not Shelf(tmp_path).expect(NAME, "400 a")
    assert shelf.read(NAME, 10, 10)
    assert shelf.expect(NAME, "400 b")
    assert shelf.read(NAME, 10, 10) == b""
    assert [*Shelf(tmp_path).missing(NAME, 10, 20)] == [(10, 20)]


def test_ranges_of_a_file_that_was_cut_are_added_again(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    with shelf.adding("a") as adder:
        adder.add(0, b"0123")
        adder.add(10, b"abcd")
    os.truncate(tmp_path / "a.bytes", 4)
    assert list(shelf.missing("a", 10, 14)) == [(10, 14)]
    with shelf.adding("a") as adder:
        adder.add(20, b"wxyz")
    assert list(shelf.missing("a", 10, 14)) == [(10, 14)]
    assert (shelf.read("a", 10, 4), shelf.read("a", 20, 4)) == (b"", b"wxyz")


@pytest.mark.parametrize("record", [(5, -9, 4), (5, 0, -4), (5, 1 << 62, 1 << 62), (-5, 0, 4)])
def test_records_that_can_not_be_are_not_believed(
    tmp_path: Path, record: tuple[int, int, int]
) -> None:
    shelf = Shelf(tmp_path)
    (tmp_path / "a.bytes").write_bytes(b"0123")
    (tmp_path / "a.ranges").write_bytes(struct.pack("<qqqq", *record, 0))
    assert list(shelf.missing("a", 0, 9)) == [(0, 9)]
    assert shelf.read("a", 5, 4) == b""


def test_ranges_whose_bytes_were_deleted_are_missing(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    with shelf.adding("a") as adder:
        adder.add(0, b"0123")
    (tmp_path / "a.bytes").unlink()
    assert shelf.read("a", 0, 4) == b""
    assert list(shelf.missing("a", 0, 4)) == [(0, 4)]


def test_bytes_that_were_damaged_are_read_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING")
    shelf = Shelf(tmp_path)
    shelf.expect(NAME, "a")
    add(shelf, (10, 20), (30, 40))
    (data,) = tmp_path.glob("*.bytes")
    data.write_bytes(CONTENT[10:20] + b"\0" + CONTENT[31:40])
    assert not shelf.expect(NAME, "a")
    assert [*shelf.missing(NAME, 10, 40)] == [(20, 40)]
    assert "what is damaged there is read again" in caplog.text
    add(shelf, (30, 40))
    assert Shelf(tmp_path).read(NAME, 30, 10) == CONTENT[30:40]
    caplog.clear()
    assert not Shelf(tmp_path).expect(NAME, "a")
    assert not caplog.text
