from __future__ import annotations

from pathlib import Path

import pytest

from syncsam_lightning.data.conversion.files import sync_tree, whole_file


def test_a_file_appears_when_it_is_whole(tmp_path: Path):
    path = tmp_path / "a.json"
    with whole_file(path) as file:
        file.write(b"half")
        file.flush()
        assert not path.exists()
        file.write(b" and half")
    assert path.read_bytes() == b"half and half"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_what_was_there(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_text("old")

    def write_half() -> None:
        with whole_file(path) as file:
            file.write(b"new")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_tree_is_synced_with_its_folders(tmp_path: Path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_text("x")
    sync_tree(tmp_path)
    assert (tmp_path / "a" / "b" / "c").read_text() == "x"
