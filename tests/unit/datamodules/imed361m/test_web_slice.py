"""Data sets of IMed-361M out of their archives on a web server."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from syncsam_datamodules.imed361m import IMed361M

from syncsam_lightning.data.conversion import WorkOptions
from syncsam_lightning.data.filter import FilterError, RowFilter
from syncsam_lightning.errors import DatasetNotFoundError
from tests.web_server import WebServer

from .test_records import Source

WORK = WorkOptions(progress=False)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SYNCSAM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "web").mkdir()
    for name, modality in (("ACDC", "mr"), ("BTCV", "ct"), ("CHAOS", "mr")):
        source = Source(tmp_path / "unpacked" / name)
        source.content["modality"] = {"0": modality}
        for number in range(6):
            source.add(f"case_{number:03d}_1", "training" if number < 4 else "test")
        source.write()
        with zipfile.ZipFile(tmp_path / "web" / f"{name}.zip", "w") as archive:
            for path in sorted(source.folder.rglob("*")):
                archive.write(path, f"{name}/{path.relative_to(source.folder)}")
    with WebServer(tmp_path / "web") as server:
        yield server


def rows(root: object, table: Path, chosen: RowFilter, **options):
    datamodule = IMed361M(str(root), str(table), image_size=16, filter=chosen, **options)
    report = datamodule.prepare(WORK, chosen)
    assert report is not None
    found = datamodule.table.read(range(len(datamodule.table)))
    return [
        (row.id, row.split, row.labels, row.image.tolist(), row.masks.tolist()) for row in found
    ]


def of(server: WebServer) -> dict[str, int]:
    """Return the bytes that were read of each archive."""
    found: dict[str, int] = {}
    for request in server.requests:
        found[request.path] = found.get(request.path, 0) + request.sent
    return found


@pytest.mark.parametrize("pseudo", [False, True])
def test_the_data_sets_that_the_filter_names_are_the_archives(
    server: WebServer, tmp_path: Path, pseudo: bool
):
    chosen = RowFilter(source=["ACDC", "BTCV"])
    options = {"pseudo_masks": pseudo}
    there = rows(server.address, tmp_path / "there.lance", chosen, **options)
    assert set(of(server)) == {"/ACDC.zip", "/BTCV.zip"}
    assert there == rows(tmp_path / "web", tmp_path / "here.lance", chosen, **options)
    assert there == rows(tmp_path / "unpacked", tmp_path / "files.lance", chosen, **options)
    assert len(there) == 12
    assert ("pseudo" in {label for row in there for label in row[2]}) == pseudo


def test_a_list_of_addresses_and_a_modality(server: WebServer, tmp_path: Path):
    names = [f"{server.address}/{name}.zip" for name in ("ACDC", "BTCV", "CHAOS")]
    (tmp_path / "all.txt").write_text("\n".join(names))
    chosen = RowFilter(modality="ct", label="corner")
    there = rows(tmp_path / "all.txt", tmp_path / "there.lance", chosen)
    assert there == rows(tmp_path / "web", tmp_path / "here.lance", chosen)
    assert {row[2] for row in there} == {("corner",)}
    assert {row[0].partition("/")[0] for row in there} == {"BTCV"}
    assert 2 * of(server)["/ACDC.zip"] < of(server)["/BTCV.zip"]


def test_one_archive_by_its_address(server: WebServer, tmp_path: Path):
    there = rows(f"{server.address}/CHAOS.zip", tmp_path / "there.lance", RowFilter())
    assert [row[0] for row in there] == [f"CHAOS/case_{n:03d}_1" for n in range(6)]


def test_a_folder_without_names_says_how_to_name_them(server: WebServer, tmp_path: Path):
    with pytest.raises(DatasetNotFoundError, match=r"name the data sets by data\.filter\.source"):
        rows(server.address, tmp_path / "t.lance", RowFilter(modality="ct"))
    with pytest.raises(DatasetNotFoundError, match=r"Nothere\.zip is not there"):
        rows(server.address, tmp_path / "t.lance", RowFilter(source=["ACDC", "Nothere"]))


def test_a_class_that_no_data_set_has_is_told_before_images_are_read(
    server: WebServer, tmp_path: Path
):
    with pytest.raises(FilterError, match=r"leaves no image .* its data sets are ACDC \(mr\)"):
        rows(server.address, tmp_path / "t.lance", RowFilter(source="ACDC", label="liver"))


def test_a_broken_index_is_an_error_of_its_file(server: WebServer, tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "web" / "Bad.zip", "w") as archive:
        archive.writestr("Bad/dataset.json", json.dumps({"modality": 3}))
    with pytest.raises(Exception, match=r"Bad\.zip::Bad/dataset\.json"):
        rows(server.address, tmp_path / "t.lance", RowFilter(source="Bad"))
