"""What is read for a slice: all of it, hardly more, in few requests."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncsam_lightning.data.sources import Entry, open_source
from syncsam_lightning.data.sources.kept_folder import KeptFolder
from syncsam_lightning.data.sources.shelf import Shelf
from syncsam_lightning.data.sources.storage import LocalFolder
from syncsam_lightning.data.sources.web_files import FileVersion
from syncsam_lightning.data.sources.zip_source import ZipSource
from syncsam_lightning.data.sources.zip_spans import Spans, piece_at, spans_of

from .conftest import Member, write_archive


def members(sizes: list[int]) -> dict[str, bytes]:
    rng = np.random.default_rng(1)
    return {
        f"f/{n:03d}": rng.integers(0, 256, size, np.uint8).tobytes() for n, size in enumerate(sizes)
    }


def opened(folder: Path) -> ZipSource:
    source = open_source(folder)
    assert isinstance(source, ZipSource)
    return source


def found(source: ZipSource, wanted: set[str]) -> Spans:
    return spans_of(source.volumes, source.entries(), wanted.__contains__)


class Nothing:
    """A server that must not be asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = LocalFolder(folder)

    def where(self, path: str) -> str:
        return path

    def version(self, path: str):
        return FileVersion(self.folder.size(path), "")

    def stream(self, path: str, offset: int, length: int):
        raise AssertionError(f"{path} is asked for {length} bytes at {offset}")


def of_kept(source: ZipSource, spans: Spans, folder: Path, shelf: Shelf) -> ZipSource:
    """Return the archive of which only the pieces are there."""
    storage = KeptFolder(Nothing(folder), [shelf])  # type: ignore[arg-type]
    for piece in spans.pieces:
        storage.size(piece.path)
        data = LocalFolder(folder).read_at(piece.path, piece.begin, piece.end - piece.begin)
        with shelf.adding(piece.path) as adder:
            adder.add(piece.begin, data)
    return replace(source, volumes=replace(source.volumes, storage=storage))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 300), min_size=1, max_size=30),
    st.integers(0, 3),
    st.sets(st.integers(0, 29)),
    st.booleans(),
)
def test_every_file_can_be_read_from_its_pieces_alone(tmp_path_factory, sizes, cut, numbers, wide):
    folder = tmp_path_factory.mktemp("a")
    files = members(sizes)
    write_archive(files, (0, 400, 700, 5000)[cut], wide=wide).save(folder)
    source = opened(folder)
    wanted = {name for number, name in enumerate(files) if number in numbers}
    spans = found(source, wanted)
    assert spans.files == len(wanted)
    kept = of_kept(source, spans, folder, Shelf(folder / "shelf"))
    for entry in source.entries():
        if isinstance(entry, Entry) and entry.name in wanted:
            assert kept.read(entry) == files[entry.name]
            with kept.open(entry) as file:
                assert file.read() == files[entry.name]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3000), min_size=1, max_size=60), st.sets(st.integers(0, 59)))
def test_hardly_more_is_read_than_needed(tmp_path_factory, sizes, numbers):
    folder = tmp_path_factory.mktemp("a")
    files = members(sizes)
    write_archive(files).save(folder)
    spans = found(opened(folder), {f"f/{number:03d}" for number in numbers})
    assert spans.needed <= spans.size <= 1.1 * spans.needed
    places = [(piece.begin, piece.end) for piece in spans.pieces]
    assert all(a[1] < b[0] for a, b in pairwise(places))


def test_neighbours_are_one_request_and_small_gaps_are_read_over(tmp_path: Path):
    files = members([1000] * 40)
    write_archive(files).save(tmp_path)
    source = opened(tmp_path)
    assert len(found(source, set(files)).pieces) == 1
    assert len(found(source, set(files) - {"f/020"}).pieces) == 1
    assert len(found(source, {"f/000", "f/030"}).pieces) == 2


def test_a_header_longer_than_any_expected_costs_no_file(tmp_path: Path):
    content = b"x" * 500
    last = [
        Member(b"f/1", content, method=0, local_extra=b"\x99\x99\x90\x01" + bytes(400)),
        Member(b"f/2", content, method=0),
    ]
    write_archive(last).save(tmp_path)
    source = opened(tmp_path)
    spans = found(source, {"f/1"})
    kept = of_kept(source, spans, tmp_path, Shelf(tmp_path / "shelf"))
    entry = next(e for e in source.entries() if isinstance(e, Entry) and e.name == "f/1")
    assert kept.read(entry) == content


def test_files_that_are_lost_have_no_pieces(tmp_path: Path):
    files = members([300] * 10)
    write_archive(files, 700).save(tmp_path)
    (tmp_path / "a.z02").unlink()
    source = opened(tmp_path)
    spans = found(source, set(files))
    readable = [entry for entry in source.entries() if isinstance(entry, Entry)]
    assert 0 < spans.files == len(readable) < 10
    kept = of_kept(source, spans, tmp_path, Shelf(tmp_path / "shelf"))
    for entry in readable:
        assert kept.read(entry) == files[entry.name]


@pytest.mark.parametrize("part_size", [0, 500])
def test_the_directory_is_a_piece_for_each_part_it_lies_in(tmp_path: Path, part_size: int):
    write_archive(members([50] * 20), part_size).save(tmp_path)
    source = opened(tmp_path)
    place = source.directory
    pieces = piece_at(source.volumes, place.part, place.offset, place.size)
    assert sum(piece.end - piece.begin for piece in pieces) == place.size
    assert len({piece.path for piece in pieces}) == len(pieces) >= (2 if part_size else 1)
