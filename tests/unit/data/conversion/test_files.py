from __future__ import annotations

from pathlib import Path

from syncsam_lightning.data.conversion.files import sync_tree


def test_a_tree_is_synced_with_its_folders(tmp_path: Path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_text("x")
    sync_tree(tmp_path)
    assert (tmp_path / "a" / "b" / "c").read_text() == "x"
