"""Folders of several archives."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from syncsam_lightning.data.sources import open_source
from syncsam_lightning.data.sources.archive_folder import ArchiveFolder
from syncsam_lightning.data.sources.zip_source import ZipSource
from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.records import Skipped


@pytest.fixture
def root(tmp_path: Path, archive) -> Path:
    archive({"BTCV/dataset.json": b"{}", "BTCV/image/a.png": b"a"}).save(tmp_path, "BTCV")
    files = {f"KiTS/image/{number}.png": bytes([number]) * 90 for number in range(20)}
    archive(files, 500).save(tmp_path, "KiTS")
    return tmp_path


def test_archives_of_one_and_of_several_parts_are_read_as_one_release(root: Path, content):
    source = open_source(root)
    assert isinstance(source, ArchiveFolder)
    whole, lost = content(pickle.loads(pickle.dumps(source)))
    assert lost == {}
    assert len(whole) == 22
    assert (whole["BTCV/image/a.png"], whole["KiTS/image/7.png"]) == (b"a", bytes([7]) * 90)


def test_one_archive_of_them_can_be_named(root: Path, content):
    source = open_source(root / "KiTS.z01")
    assert isinstance(source, ZipSource)
    assert (source.name, len(content(source)[0])) == ("KiTS", 20)


def test_a_file_in_two_archives_is_used_once_and_both_are_named(root: Path, archive, content):
    archive({"BTCV/image/a.png": b"other", "BTCV/image/b.png": b"b"}).save(root, "Copy")
    archive({"BTCV/image/b.png": b"third"}).save(root, "Later")
    whole, lost = content(open_source(root))
    assert (whole["BTCV/image/a.png"], whole["BTCV/image/b.png"]) == (b"a", b"b")
    assert lost == {
        "BTCV/image/a.png": "both BTCV.zip and Copy.zip have it; the first is used",
        "BTCV/image/b.png": "both Copy.zip and Later.zip have it; the first is used",
    }


def test_a_damaged_archive_does_not_cost_the_others(root: Path, archive, content):
    (root / "Bad.zip").write_bytes(b"nonsense")
    (root / "Alone.z01").write_bytes(b"nonsense")
    cut = archive({"Cut/a": b"a", "Cut/b": b"b"})
    cut.parts[0][cut.parts[0].rindex(b"PK\1\2")] = 0
    cut.save(root, "Cut")
    whole, lost = content(open_source(root))
    assert len(whole) == 23
    assert "damaged after 1 of 2 files" in lost.pop(str(root / "Cut.zip"))
    assert "does not end as a zip archive" in lost.pop("Bad.zip")
    assert "Alone.zip is missing" in lost.pop("Alone")
    assert lost == {}


def test_unpacked_folders_beside_archives_are_read_unless_an_archive_has_them(root: Path, content):
    for name in ("BTCV/image/z.png", "ACDC/image/y.png", "readme.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    whole, lost = content(open_source(root))
    assert lost == {"BTCV": "BTCV.zip has it too and is read"}
    assert whole["ACDC/image/y.png"] == b"ACDC/image/y.png"
    assert "readme.txt" in whole
    assert "BTCV/image/z.png" not in whole


def test_its_parts_are_all_of_it(root: Path, content):
    (root / "Bad.zip").write_bytes(b"nonsense")
    for name in ("ACDC/image/y.png", "readme.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    source = open_source(root)
    whole: dict[str, bytes] = {}
    lost: dict[str, str] = {}
    for part in source.parts("dataset.json"):
        found = content(part)
        whole |= found[0]
        lost |= found[1]
    assert (whole, lost) == content(source)


def test_archives_may_be_links_to_elsewhere_and_other_files_may_not(
    tmp_path: Path, archive, files, content
):
    # As download caches lay them out.
    archive(files, 3000).save(tmp_path / "blobs")
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    for path in (tmp_path / "blobs").iterdir():
        (snapshot / path.name).symlink_to(path)
    (tmp_path / "secret").write_text("")
    (snapshot / "readme.txt").symlink_to(tmp_path / "secret")
    assert content(open_source(snapshot / "a.z01")) == (files, {})
    source = open_source(snapshot)
    assert content(source) == (files, {"readme.txt": "it is a link that leaves the release"})


def test_an_archive_and_nothing_else_is_that_archive(tmp_path: Path, archive, files):
    assert isinstance(open_source(archive(files).save(tmp_path)), ZipSource)


def test_nothing_of_an_empty_folder_is_read(tmp_path: Path):
    assert list(open_source(tmp_path).entries()) == []


def test_entries_of_another_release_are_refused(root: Path, archive, files):
    source = open_source(root)
    other = next(open_source(archive(files).save(root / "x")).entries())
    assert not isinstance(other, Skipped)
    assert not isinstance(source, ZipSource)
    with pytest.raises(BrokenInputError, match=r"is (not )?where the directory"):
        source.read(other)
