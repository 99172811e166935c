"""A slice of SA-Med2D-20M out of its archive on a web server."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from syncsam_datamodules.samed2d import SAMed2D

from syncsam_lightning.cli.main import main
from syncsam_lightning.commands.prepare import prepare as command
from syncsam_lightning.data.conversion import ConversionReport, WorkOptions
from syncsam_lightning.data.filter import FilterError, RowFilter
from syncsam_lightning.data.sources.opening import SourceError
from syncsam_lightning.data.sources.web_files import WebFolder
from syncsam_lightning.errors import ConversionError, DatasetNotFoundError, TableError
from syncsam_lightning.records import ImageRecord
from tests.split_release import Written, write_release
from tests.web_server import WebServer

EYES = RowFilter(modality="fundus_photography")
WORK = WorkOptions(progress=False)
IMAGES = 280


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write_release(tmp_path_factory.mktemp("r") / "raw", IMAGES, part_size=30_000, seed=1)


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCSAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(WebFolder, "first_pause", 0.01)


@pytest.fixture
def server(release: Written) -> Iterator[WebServer]:
    with WebServer(release.parts[0].parents[1]) as server:
        yield server


def prepare(
    root: str | Path, table: Path, chosen: RowFilter = EYES, work: WorkOptions = WORK
) -> tuple[list[ImageRecord], ConversionReport]:
    datamodule = SAMed2D(str(root), str(table), image_size=16, filter=chosen)
    report = datamodule.prepare(work, chosen)
    assert report is not None
    return datamodule.table.read(range(len(datamodule.table))), report


def same(ours: list[ImageRecord], theirs: list[ImageRecord]) -> bool:
    def plain(row: ImageRecord) -> list[object]:
        return [
            value.tolist() if isinstance(value, np.ndarray) else value for value in vars_of(row)
        ]

    return [plain(row) for row in ours] == [plain(row) for row in theirs]


def vars_of(row: ImageRecord) -> list[object]:
    return [getattr(row, name) for name in ImageRecord.__slots__]


CHOICES = {
    "modality": EYES,
    "source": RowFilter(source="AMOS2022"),
    "class": RowFilter(label="cup"),
    "class, other way": RowFilter(modality_not="ct", label_not=["disc"]),
    "everything": RowFilter(),
}


@pytest.mark.parametrize("choice", CHOICES)
def test_the_table_is_that_of_the_release_on_this_machine(
    choice: str, release: Written, server: WebServer, tmp_path: Path
):
    chosen = CHOICES[choice]
    here, report = prepare(release.parts[0].parent, tmp_path / "here.lance", chosen)
    there, other = prepare(f"{server.address}/raw", tmp_path / "there.lance", chosen)
    assert len(here) == report.images.total() > 0
    assert same(here, there)
    assert (report.images, report.masks_of, report.skipped) == (
        other.images, other.masks_of, other.skipped,
    )  # fmt: skip


@pytest.mark.parametrize("choice", ["modality", "class"])
def test_a_slice_is_what_the_filter_leaves_of_the_whole_table(
    choice: str, release: Written, tmp_path: Path
):
    chosen = CHOICES[choice]
    whole, _ = prepare(release.parts[0].parent, tmp_path / "whole.lance", RowFilter())
    ours, _ = prepare(release.parts[0].parent, tmp_path / "slice.lance", chosen)
    left = {}
    for row in whole:
        kept = [n for n, label in enumerate(row.labels) if chosen.keeps_label(label)]
        if kept and chosen.keeps_group(row.modality, row.source):
            left[row.id] = (row.split, [row.labels[n] for n in kept], row.masks[kept].tolist())
    assert {row.id: (row.split, [*row.labels], row.masks.tolist()) for row in ours} == left
    assert {row.split for row in ours} == {"train", "val", "test"}


def test_hardly_more_is_read_than_the_slice_and_the_directory_only_once(
    release: Written, server: WebServer, tmp_path: Path
):
    prepare(f"{server.address}/raw", tmp_path / "a.lance")
    extra = 2000  # the ends of the archive, and a byte of each part for its size
    apart = release.directory + release.index
    assert server.sent - apart <= 1.2 * release.needed("Eyes") + extra
    server.requests.clear()
    prepare(f"{server.address}/raw", tmp_path / "b.lance", RowFilter(label="cup"))
    cups = release.needed("images/", "Eyes") + release.needed("masks/", "Eyes", "--0001_")
    assert server.sent <= 1.2 * cups + extra


def test_the_classes_of_a_slice_are_those_of_its_data_sets(server: WebServer, tmp_path: Path):
    with pytest.raises(FilterError, match=r"leaves no image of .*; its classes are liver, spleen"):
        prepare(
            f"{server.address}/raw", tmp_path / "a.lance", RowFilter(label="cup", modality="ct")
        )
    with pytest.raises(FilterError, match="its data sets are AMOS2022, Eyes"):
        prepare(f"{server.address}/raw", tmp_path / "a.lance", RowFilter(source="Amos"))
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_a_modality_that_is_not_there_costs_no_download(server: WebServer, tmp_path: Path):
    with pytest.raises(FilterError, match=r"has no modality 'fundus'; it has ct, .*fundus_photo"):
        prepare(f"{server.address}/raw", tmp_path / "a.lance", RowFilter(modality="fundus"))
    assert server.sent <= 1


@pytest.mark.parametrize("kind", ["zip", "z03"])
def test_the_address_of_any_part_will_do(
    kind: str, release: Written, server: WebServer, tmp_path: Path
):
    rows, _ = prepare(f"{server.address}/raw/SA-Med2D-16M.{kind}", tmp_path / "a.lance")
    assert len(rows) == IMAGES // 7


def test_parts_may_be_listed_in_a_file(release: Written, server: WebServer, tmp_path: Path):
    there = tmp_path / "parts.txt"
    lines = [f"{server.address}/raw/{part.name}?download=true" for part in release.parts]
    there.write_text("# the parts\n\n" + "\n".join(lines) + "\n")
    rows, _ = prepare(there, tmp_path / "a.lance")
    assert len(rows) == IMAGES // 7
    assert all(request.path.endswith("?download=true") for request in server.requests)


def test_a_list_may_come_from_any_editor_and_must_name_the_last_part(
    release: Written, server: WebServer, tmp_path: Path
):
    there = tmp_path / "parts.txt"
    lines = [f"{server.address}/raw/{part.name}" for part in release.parts]
    there.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    rows, _ = prepare(there, tmp_path / "a.lance")
    assert len(rows) == IMAGES // 7
    there.write_text("\n".join(lines[:-1]))
    with pytest.raises(DatasetNotFoundError, match=r"parts\.txt lists no NAME\.zip"):
        prepare(there, tmp_path / "b.lance")


def test_two_slices_are_prepared_at_once(release: Written, server: WebServer, tmp_path: Path):
    with ThreadPoolExecutor(2) as threads:
        root = f"{server.address}/raw"
        eyes = threads.submit(prepare, root, tmp_path / "a.lance", EYES)
        slices = threads.submit(prepare, root, tmp_path / "b.lance", CHOICES["source"])
        assert len(eyes.result()[0]) + len(slices.result()[0]) == IMAGES
    assert server.sent < 1.3 * (release.directory + release.index + sum(release.sizes.values()))


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


def test_nothing_is_read_above_what_is_allowed_without_asking(
    release: Written, server: WebServer, tmp_path: Path
):
    little = replace(WORK, max_download=20_000)
    with pytest.raises(ConversionError, match=r"allows.*--max_download 1MB"):
        prepare(f"{server.address}/raw", tmp_path / "a.lance", EYES, little)
    assert server.sent < 1000
    questions: list[str] = []

    def ask(question: str) -> bool:
        questions.append(question)
        return len(questions) < 3

    with pytest.raises(ConversionError, match="allows"):
        prepare(f"{server.address}/raw", tmp_path / "a.lance", EYES, replace(little, ask=ask))
    assert len(questions) == 3
    assert "the directory of about 842 files" in questions[0]
    assert "SAMed2D_v1.json" in questions[1]
    assert "120 files of" in questions[2]
    assert server.sent < release.directory + release.index + 2000
    rows, _ = prepare(
        f"{server.address}/raw", tmp_path / "a.lance", EYES, replace(WORK, max_download=10**6)
    )
    assert len(rows) == IMAGES // 7


def test_a_table_holds_one_slice(release: Written, tmp_path: Path, caplog):
    caplog.set_level(logging.INFO)
    root, table = str(release.parts[0].parent), str(tmp_path / "a.lance")
    command("SAMed2D", root, table, workers=1, filter={"modality": "ct"})
    command("SAMed2D", root, table, filter={"modality": ["ct"]})
    for other in ({"modality": "pet"}, {}, {"modality": "ct", "label": "liver"}):
        with pytest.raises(TableError, match=r"holds modality: ct, but (modality: |all of it)"):
            command("SAMed2D", root, table, filter=other)
    datamodule = SAMed2D(root, table)
    datamodule.prepare_data()
    datamodule.setup()
    assert "holds a slice of its release (modality: ct)" in caplog.text


def test_training_from_an_address_makes_a_table_of_what_its_filter_asks_for(
    server: WebServer, tmp_path: Path
):
    table = str(tmp_path / "a.lance")
    datamodule = SAMed2D(f"{server.address}/raw", table, image_size=16, filter=EYES, num_workers=0)
    datamodule.prepare_data()
    datamodule.setup()
    assert len(datamodule.table) == IMAGES // 7
    assert datamodule.table.settings["slice"] == {"modality": ["fundus_photography"]}


PAGE = Path(__file__).parents[4] / "docs" / "prepare.md"


def test_the_commands_of_the_page_make_tables(
    release: Written, server: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    commands = [
        line.removeprefix("syncsam ")
        .replace("/data/SA-Med2D-20M", str(release.parts[0].parent))
        .replace(
            "https://huggingface.co/datasets/OpenGVLab/SA-Med2D-20M/resolve/main", server.address
        )
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("syncsam prepare SAMed2D")
    ]
    assert len(commands) == 3
    found = []
    for number, line in enumerate(commands):
        words = shlex.split(line)
        words[3] = f"{number}.lance"
        assert main([*words, "--options.image_size", "16", "--workers", "1"]) == 0
        found.append(SAMed2D(table=words[3], image_size=16).table)
    whole, here, there = (table.read(range(len(table))) for table in found)
    assert len(whole) == IMAGES
    assert same(here, there)
    assert {row.modality for row in here} == {"fundus_photography"}
