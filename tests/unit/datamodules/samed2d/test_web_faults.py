"""Servers that fail, change and ask for tokens, for a slice of SA-Med2D-20M."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
from syncsam_datamodules.samed2d import SAMed2D

from syncsam_lightning.data.sources.opening import SourceError
from syncsam_lightning.errors import ConversionError, DatasetNotFoundError, TableError
from tests.split_release import Written, write_release
from tests.web_server import WebServer

from .slices import EYES, IMAGES, WORK, prepare, same

FAULTS = {
    "too many requests": {"refuse": [429, 429, 503], "retry_after": "0"},
    "cut": {"cuts": 4, "cut_after": 1000},
    "no tag": {"etag": ""},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_with_weaknesses_gives_the_same_table(
    fault: str, release: Written, server: WebServer, tmp_path: Path
):
    for name, value in FAULTS[fault].items():
        setattr(server, name, value)
    here, _ = prepare(release.parts[0].parent, tmp_path / "here.lance")
    there, _ = prepare(f"{server.address}/raw", tmp_path / "there.lance")
    assert same(here, there)


def test_a_server_that_ignores_ranges_is_refused_at_once(server: WebServer, tmp_path: Path):
    server.whole = True
    with pytest.raises(SourceError, match="sends whole files where parts are asked for: download"):
        prepare(f"{server.address}/raw", tmp_path / "a.lance")
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == []


@pytest.mark.parametrize("after", [4, 12, 25, 60])
def test_a_release_that_changes_meanwhile_is_told_and_read_anew(
    after: int, release: Written, server: WebServer, tmp_path: Path
):
    server.changes_after = after
    with pytest.raises(SourceError, match=r"has changed on .* while it was read: run the same"):
        prepare(f"{server.address}/raw", tmp_path / "a.lance")
    assert not (tmp_path / "a.lance").exists()
    there, _ = prepare(f"{server.address}/raw", tmp_path / "a.lance")
    here, _ = prepare(release.parts[0].parent, tmp_path / "here.lance")
    assert same(here, there)


def test_a_table_is_refused_when_its_release_has_changed(server: WebServer, tmp_path: Path):
    prepare(f"{server.address}/raw", tmp_path / "a.lance")
    again = SAMed2D(f"{server.address}/raw", str(tmp_path / "a.lance"), image_size=16, filter=EYES)
    assert again.prepare(WORK, EYES) is None
    server.changes_after = 0
    with pytest.raises(TableError, match="has changed since"):
        again.prepare(WORK, EYES)


def test_a_server_that_is_away_does_not_keep_from_using_the_table(
    server: WebServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.WARNING)
    prepare(f"{server.address}/raw", tmp_path / "a.lance")
    server.refuse = [503] * 9
    again = SAMed2D(f"{server.address}/raw", str(tmp_path / "a.lance"), image_size=16, filter=EYES)
    again.prepare_data()
    assert "later changes in it won't be noticed" in caplog.text


def test_an_address_without_parts_says_what_was_looked_for(server: WebServer, tmp_path: Path):
    with pytest.raises(DatasetNotFoundError, match=r"elsewhere/SA-Med2D-16M\.zip.* is not there"):
        prepare(f"{server.address}/elsewhere", tmp_path / "a.lance")
    with pytest.raises(DatasetNotFoundError, match="/resolve/ in place of /tree/"):
        prepare(f"{server.address}/tree/main/raw", tmp_path / "a.lance")


def test_a_part_that_is_missing_costs_its_files_and_is_told(tmp_path: Path):
    release = write_release(tmp_path / "web" / "raw", IMAGES, part_size=30_000)
    release.parts[4].unlink()
    with WebServer(tmp_path / "web") as server:
        with pytest.raises(ConversionError, match=r"z05 is missing"):
            prepare(f"{server.address}/raw", tmp_path / "a.lance")
        work = replace(WORK, max_unreadable=1)
        there, report = prepare(f"{server.address}/raw", tmp_path / "b.lance", EYES, work)
    here, other = prepare(release.parts[0].parent, tmp_path / "here.lance", EYES, work)
    assert same(here, there)
    assert report.skipped == other.skipped
    assert {kind for kind, _ in report.skipped} >= {"part of the archive missing"}


def test_what_the_index_names_and_the_directory_lacks_is_listed_for_the_slice(tmp_path: Path):
    release = write_release(tmp_path / "web" / "raw", 70, lost=[7, 8])
    with WebServer(tmp_path / "web") as server:
        _, report = prepare(
            f"{server.address}/raw", tmp_path / "a.lance", EYES, replace(WORK, max_unreadable=1)
        )
    lines = report.skipped_file.read_text()
    assert lines.count("named by the index, missing") == 3
    assert "Eyes--eye_0000007" in lines
    assert "AMOS" not in lines
    assert release.sizes


def test_what_is_kept_may_be_damaged_or_have_no_place(
    release: Written, server: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    root = f"{server.address}/raw"
    first, _ = prepare(root, tmp_path / "a.lance")
    for kept in (tmp_path / "cache").rglob("*.bytes"):
        kept.write_bytes(bytes(kept.stat().st_size))
    again, _ = prepare(root, tmp_path / "b.lance")
    assert same(first, again)
    (tmp_path / "file").touch()
    monkeypatch.setenv("SYNCSAM_CACHE", str(tmp_path / "file"))
    with pytest.raises(ConversionError, match="SYNCSAM_CACHE name a folder on a disk with room"):
        prepare(root, tmp_path / "c.lance")


def test_a_password_in_an_address_is_shown_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(DatasetNotFoundError, match="holds a user or password") as caught:
        prepare("https://me:hunter2@127.0.0.1/raw", tmp_path / "a.lance")
    assert "hunter2" not in caplog.text + str(caught.value)


def test_redirects_to_signed_addresses_are_followed(
    release: Written, server: WebServer, tmp_path: Path
):
    with WebServer(server.folder, signature="SECRET") as store:
        server.redirect_to = store
        rows, _ = prepare(f"{server.address}/raw", tmp_path / "a.lance")
    assert len(rows) == IMAGES // 7
    assert len(store.requests) > 3 * len(server.requests)
    assert "SECRET" not in "".join(
        path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()
    )


def test_a_token_goes_to_its_host_alone_and_nowhere_else(
    server: WebServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level(logging.DEBUG)
    server.token = "hf_verysecret"
    with pytest.raises((SourceError, DatasetNotFoundError), match="SYNCSAM_TOKEN"):
        prepare(f"{server.address}/raw", tmp_path / "a.lance")
    monkeypatch.setenv("SYNCSAM_TOKEN", "hf_verysecret")
    monkeypatch.setenv("SYNCSAM_TOKEN_HOST", f"127.0.0.1:{server.port}")
    with WebServer(server.folder) as store:
        server.redirect_to = store
        rows, _ = prepare(f"{server.address}/raw", tmp_path / "a.lance")
    assert len(rows) == IMAGES // 7
    assert set(store.said("authorization")) == {None}
    assert "verysecret" not in caplog.text
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"verysecret" not in path.read_bytes()
