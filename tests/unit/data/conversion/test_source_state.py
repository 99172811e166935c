"""A table is not used for a release that has changed since it was prepared."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from syncsam_datamodules.mask_folder import MaskFolder

from syncsam_lightning.data.conversion import WorkOptions, source_state, state_of
from syncsam_lightning.data.conversion.source_state import SourceState
from syncsam_lightning.errors import TableError


def write(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((8, 9), np.uint8)
    pixels[:value] = 255
    Image.fromarray(pixels).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "Wounds"
    for number in range(4):
        write(folder / "images" / f"{number}.png", number)
        write(folder / "masks" / f"{number}.png", 1 + number)
    return folder


@pytest.fixture
def prepare(root: Path, tmp_path: Path) -> Callable[..., str]:
    """Prepare the table as each run does; tell whether it was made or was there."""

    def prepare(at: Path | None = root) -> str:
        datamodule = MaskFolder(at and str(at), str(tmp_path / "t.lance"), image_size=8)
        return "made" if datamodule.prepare(WorkOptions(progress=False)) else "there"

    return prepare


def test_a_table_is_used_as_long_as_its_release_is_what_it_was(
    prepare, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    assert prepare() == "made"
    with caplog.at_level(logging.INFO):
        assert prepare() == "there"
    (line,) = [text for text in caplog.messages if text.startswith("using ")]
    assert line.startswith(f"using {tmp_path / 't.lance'}, prepared on 20")


CHANGES = {
    "a mask is mended": lambda root: write(root / "masks" / "2.png", 7),
    "an image and its mask are added": lambda root: [
        write(root / folder / "new.png", 3) for folder in ("images", "masks")
    ],
    "a mask is removed": lambda root: (root / "masks" / "1.png").unlink(),
    "a mask is renamed": lambda root: (root / "masks" / "1.png").rename(root / "masks" / "9.png"),
    "a file of equal size is written anew": lambda root: os.utime(root / "masks" / "1.png"),
    "a split is added": lambda root: write(root / "test" / "masks" / "deep" / "1.png", 1),
}


@pytest.mark.promise("Input: a table whose release has changed since is not used in silence")
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_release_is_refused_with_the_remedies(
    prepare, root: Path, tmp_path: Path, change: str
):
    prepare()
    CHANGES[change](root)
    with pytest.raises(TableError, match=r"prepared on 20.* has changed since: ") as told:
        prepare()
    assert f"remove {tmp_path / 't.lance'} and run the same command" in str(told.value)
    assert prepare(None) == "there"
    shutil.rmtree(tmp_path / "t.lance")
    assert (prepare(), prepare()) == ("made", "there")


def test_the_numbers_say_what_has_become_of_it(prepare, root: Path):
    prepare()
    size = sum(path.stat().st_size for path in root.rglob("*.png"))
    (root / "masks" / "0.png").unlink()
    with pytest.raises(TableError, match=f"8 files of {size} bytes have become 7 of "):
        prepare()


def test_a_release_that_is_gone_or_lies_elsewhere_is_no_reason_to_refuse(
    prepare, root: Path, tmp_path: Path
):
    prepare()
    shutil.copytree(root, tmp_path / "copy" / "Wounds")
    assert prepare(tmp_path / "copy" / "Wounds") == "there"
    shutil.rmtree(root)
    assert prepare() == "there"


def test_a_table_is_not_used_for_another_release(prepare, tmp_path: Path):
    prepare()
    other = tmp_path / "Burns"
    for folder in ("images", "masks"):
        write(other / folder / "a.png", 3)
    with pytest.raises(
        TableError, match=f"which is another release than {other}: that had 8 files"
    ):
        prepare(other)


def test_what_is_made_of_a_folder_of_images_may_lie_in_it(prepare, root: Path):
    prepare()
    write(root / "predictions" / "0--object.png", 1)
    write(root / "compare" / "picture.png", 1)
    (root / "notes.txt").touch()
    (root / "images" / "Thumbs.db").touch()
    (root / "masks" / "desktop.ini").touch()
    assert prepare() == "there"


def test_of_named_items_a_file_counts_too(root: Path):
    (root / "index.csv").write_text("a")
    before = SourceState.of(root, ("index.csv", "masks"))
    assert before.files == 5
    (root / "images" / "0.png").unlink()
    assert SourceState.of(root, ("index.csv", "masks")) == before
    (root / "index.csv").write_text("ab")
    assert SourceState.of(root, ("index.csv", "masks")) != before


def test_a_release_with_a_file_that_runs_write_too_is_a_release(root: Path):
    (root / "metrics.csv").write_text("of the publisher")
    before = SourceState.of(root)
    assert before.files == 8
    write(root / "predicted" / "0--a.png", 1)
    (root / "predicted" / "predictions.csv").touch()
    assert SourceState.of(root) == before
    write(root / "masks" / "2.png", 7)
    assert SourceState.of(root) != before


def test_items_that_a_plugin_names_may_be_files(root: Path):
    names = ("images", "list.json", "not_there")
    (root / "list.json").write_text("[1]")
    before = SourceState.of(root, names)
    (root / "masks" / "0.png").unlink()
    assert SourceState.of(root, names) == before
    (root / "list.json").write_text("[1, 2]")
    assert SourceState.of(root, names) != before


def test_what_else_lies_in_the_folder_does_not_count(prepare, root: Path, tmp_path: Path):
    prepare()
    write(root / "lightning_logs" / "version_0" / "picture.png", 1)
    write(root / "runs" / "picture.png", 1)
    (root / "masks" / ".DS_Store").touch()
    shutil.copytree(tmp_path / "t.lance", root / "images" / "t.lance")
    assert prepare() == "there"


def test_where_the_root_is_the_working_folder_programs_and_runs_do_not_count(root: Path):
    before = SourceState.of(root)
    run = root / "logs" / "first" / "version_0"
    write(run / "test" / "pictures" / "a.png", 1)
    (run / "run_config.yaml").touch()
    (root / "more" / "events").mkdir(parents=True)
    (root / "more" / "events" / "events.out.tfevents.1").touch()
    write(root / "more" / "events" / "deep" / "a.png", 1)
    for name in ("train.py", "tiny.yaml", "slurm-1.out", "best.ckpt", "t.skipped.jsonl"):
        (root / name).touch()
    assert SourceState.of(root) == before
    write(root / "more" / "a.png", 1)
    assert SourceState.of(root) != before


def test_links_are_followed_once_and_may_lead_to_nothing(root: Path):
    (root / "images" / "round").symlink_to(root)
    (root / "images" / "nothing.png").symlink_to(root / "gone")
    state = SourceState.of(root)
    assert state.files == 9
    assert SourceState.of(root) == state


def test_of_an_archive_all_parts_count(tmp_path: Path):
    for name in ("release.z01", "release.zip", "other.zip"):
        (tmp_path / name).write_bytes(b"x")
    before = SourceState.of(tmp_path / "release.zip")
    assert before.files == 2
    (tmp_path / "other.zip").write_bytes(b"longer")
    assert SourceState.of(tmp_path / "release.zip") == before
    (tmp_path / "release.z01").write_bytes(b"longer")
    assert SourceState.of(tmp_path / "release.zip") != before


def test_a_deep_folder_is_looked_at_to_its_end(tmp_path: Path):
    inner = tmp_path
    names = [f"{number:04d}" for number in range(300)]
    for name in names:
        inner = inner / name
        inner.mkdir()
    (inner / "file").touch()
    assert SourceState.of(tmp_path).files == 1


def test_of_very_many_files_the_folders_times_count(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(source_state, "LOOKED_AT", 7)  # root has 2 items, each folder 4
    before = SourceState.of(root)
    assert before.files == 5
    write(root / "masks" / "new.png", 1)
    assert SourceState.of(root) != before


def test_what_cannot_be_listed_is_told_and_has_no_state(caplog: pytest.LogCaptureFixture):
    assert state_of("ftp://elsewhere/release") is None
    assert "later changes in it won't be noticed" in caplog.text
