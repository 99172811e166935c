"""Unpacked releases."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncsam_lightning.data.sources import Entry, local_tree, open_source
from syncsam_lightning.data.sources.storage import LocalFolder
from syncsam_lightning.data.sources.tree import Tree
from syncsam_lightning.errors import UNREADABLE, BrokenInputError, DatasetNotFoundError
from syncsam_lightning.records import Skipped


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("b/2.png", "b/1.png", "a/x.npz", "top.json"):
        (tmp_path / "r" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "r" / name).write_bytes(name.encode())
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    return tmp_path / "r"


def test_files_come_by_name_and_are_read(root: Path, content):
    source = open_source(root)
    assert isinstance(source, Tree)
    names = ["a/x.npz", "b/1.png", "b/2.png", "top.json"]
    assert [entry.name for entry in source.entries()] == names
    assert content(source) == ({name: name.encode() for name in names}, {})
    assert source.where("b/1.png") == str(root / "b" / "1.png")


def test_links_that_leave_the_folder_are_listed_and_never_read(root: Path, content):
    (root / "b" / "file").symlink_to(root.parent / "outside" / "secret")
    (root / "b" / "folder").symlink_to(root.parent / "outside")
    (root / "b" / "gone").symlink_to(root / "nothing")
    (root / "b" / "loop").symlink_to(root)
    (root / "b" / "same").symlink_to(root / "b" / "1.png")
    whole, lost = content(open_source(root))
    assert whole["b/same"] == b"b/1.png"
    assert lost == {
        "b/file": "it is a link that leaves the release",
        "b/folder": "it is a link that leaves the release",
        "b/gone": "it is a link to nothing",
        "b/loop": "it is a link to a folder of the release, which is read where it lies",
    }


def test_a_file_that_becomes_a_link_after_it_was_listed_is_refused(root: Path):
    source = open_source(root)
    entry = next(entry for entry in source.entries() if entry.name == "a/x.npz")
    (root / "a" / "x.npz").unlink()
    (root / "a" / "x.npz").symlink_to(root.parent / "outside" / "secret")
    for read in (source.read, lambda entry: source.open(entry).read()):
        with pytest.raises(BrokenInputError, match="link that leaves the release"):
            read(entry)


def test_a_folder_that_becomes_a_link_after_it_was_listed_is_refused(root: Path):
    source = open_source(root)
    entry = next(entry for entry in source.entries() if entry.name == "a/x.npz")
    (root / "a").rename(root.parent / "outside" / "a")
    (root / "a").symlink_to(root.parent / "outside" / "a")
    for read in (source.read, lambda entry: source.open(entry).read()):
        with pytest.raises(BrokenInputError, match="link that leaves the release"):
            read(entry)


def test_a_link_within_the_folder_is_read_also_through_linked_folders(root: Path):
    (root / "also").symlink_to("b")
    (root / "b" / "same").symlink_to("../a/../also/1.png")
    source = open_source(root)
    assert source.read(Entry("b/same", 7)) == source.read(Entry("also/1.png", 7)) == b"b/1.png"


def test_an_unpacked_release_is_read_without_asking_what_each_path_stands_for(
    root: Path, content, monkeypatch
):
    source = open_source(root)

    def no_realpath(path: object) -> str:
        raise AssertionError(f"asked for {path}")

    monkeypatch.setattr(os.path, "realpath", no_realpath)
    whole, lost = content(source)
    assert (len(whole), lost) == (4, {})


@pytest.fixture
def deep(root: Path) -> Iterator[str]:
    """A folder so deep that neither Python's own tools nor pytest make or remove it."""
    steps = ["/".join(["d"] * depth) for depth in range(1, 1201)]
    for step in steps:
        (root / step).mkdir()
    yield steps[-1]
    (root / steps[-1] / "x").unlink()
    for step in reversed(steps):
        (root / step).rmdir()


def test_a_folder_1200_deep_is_read(root: Path, deep: str, content):
    (root / deep / "x").write_bytes(b"x")
    whole, lost = content(open_source(root))
    assert (whole[f"{deep}/x"], lost) == (b"x", {})


def open_files() -> set[str]:
    """Return what this process has open, but for the folder that is looked through for it."""
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        try:
            found.add(str(path.readlink()))
        except FileNotFoundError:
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are told by /proc")
@pytest.mark.parametrize("whole", [True, False])
def test_no_file_that_was_read_stays_open(tmp_path: Path, whole: bool):
    for number in range(20):
        (tmp_path / f"{number:02d}").mkdir()
        (tmp_path / f"{number:02d}" / "x.nii").write_bytes(b"x" * 4000)
    source = open_source(tmp_path)
    for entry in source.entries():
        if whole:
            source.read(entry)
        else:
            with source.open(entry) as file:
                file.read(10)
    assert not [path for path in open_files() if path.endswith("x.nii")]
    assert len([path for path in open_files() if path.startswith(f"{tmp_path}/")]) < 5


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are told by /proc")
def test_few_of_many_archives_stay_open_and_none_without_the_source(
    tmp_path: Path, archive, content
):
    members = {f"{number:02d}": {f"{number:02d}/x": b"1"} for number in range(30)}
    for name, files in members.items():
        archive(files).save(tmp_path, name)
    source = open_source(tmp_path)
    whole, _ = content(source)
    assert len(whole) == 30
    assert 0 < len([path for path in open_files() if path.endswith(".zip")]) < 10
    del source
    assert not [path for path in open_files() if path.endswith(".zip")]


def test_a_file_is_found_without_listing_its_folder(root: Path, monkeypatch):
    (root / "b" / "out").symlink_to(root.parent / "outside" / "secret")
    tree = local_tree(root)
    monkeypatch.setattr(LocalFolder, "list", None)
    assert tree.find("b/1.png") == Entry("b/1.png", 7)
    assert [tree.find(name) for name in ("b/3.png", "c/1.png", "b/1.png/x", "b")] == [None] * 4
    for name, reason in {"b/out": "link that leaves", "../x": "leaves", "/etc": "absolute"}.items():
        found = tree.find(name)
        assert isinstance(found, Skipped)
        assert (found.path, found.kind, reason in found.reason) == (name, "unsafe name", True)


def test_a_file_that_may_not_be_looked_up_is_unreadable(root: Path, monkeypatch):
    def refuse(self: LocalFolder, path: str) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(LocalFolder, "size", refuse)
    found = local_tree(root).find("b/1.png")
    assert found == Skipped(
        "b/1.png", "it cannot be read: [Errno 13] Permission denied", UNREADABLE
    )


@pytest.mark.parametrize("name", ["../outside/secret", "/etc/passwd", "a/../top.json"])
def test_a_name_that_leaves_the_folder_is_refused(root: Path, name: str):
    with pytest.raises(BrokenInputError, match="no file of this folder"):
        open_source(root).read(Entry(name, 6))


def test_a_name_that_is_no_text_is_listed(root: Path, content):
    Path(os.fsdecode(os.fsencode(root) + b"/b/\xff.png")).touch()
    _, lost = content(open_source(root))
    assert list(lost.values()) == ["its name is not valid text"]


@pytest.mark.parametrize("size", [0, 3, 400])
def test_a_file_that_has_changed_since_it_was_listed_is_broken(root: Path, size: int):
    source = open_source(root)
    entry = next(source.entries())
    (root / entry.name).write_bytes(bytes(size))
    with pytest.raises(BrokenInputError, match="its size is not the 7 bytes"):
        source.read(entry)


def test_a_file_that_has_gone_is_named(root: Path):
    source = open_source(root)
    entry = next(source.entries())
    (root / entry.name).unlink()
    with pytest.raises(BrokenInputError, match="No such file") as error:
        source.read(entry)
    assert error.value.path == "a/x.npz"


def test_a_pipe_is_listed(root: Path, content):
    os.mkfifo(root / "a" / "pipe")
    _, lost = content(open_source(root))
    assert lost == {"a/pipe": "it is neither a file nor a folder"}


def test_a_tree_is_taken_apart_into_its_folders_unless_the_marker_is_at_its_top(root: Path):
    source = open_source(root)
    assert source.parts("top.json") == (source,)
    parts = source.parts("dataset.json")
    assert [[entry.name for entry in part.entries()] for part in parts] == [
        ["top.json"],
        ["a/x.npz"],
        ["b/1.png", "b/2.png"],
    ]
    assert [part.name for part in parts] == ["r", "a", "b"]


def test_it_works_after_pickling(root: Path, content):
    source = open_source(root)
    assert content(pickle.loads(pickle.dumps(source))) == content(source)


def test_a_stream_reads_a_whole_file_and_no_more(root: Path):
    source = open_source(root)
    entry = next(source.entries())
    with source.open(entry) as file:
        assert (file.read(3), file.read(), file.read()) == (b"a/x", b".npz", b"")


@pytest.mark.parametrize("address", ["nowhere", "nowhere/a.zip", "b/../c"])
def test_nothing_at_an_address_is_told(root: Path, address: str):
    with pytest.raises(DatasetNotFoundError, match=f"no release at .*{address}"):
        open_source(root / address)


def test_another_scheme_is_told():
    with pytest.raises(
        DatasetNotFoundError, match="ftp:// is not supported; there are s3://, gs://, az://"
    ):
        open_source("ftp://bucket/release")
