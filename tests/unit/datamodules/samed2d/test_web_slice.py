"""A slice of SA-Med2D-20M out of its archive on a web server."""

from __future__ import annotations

import io
import json
import logging
import shlex
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from syncsam_datamodules.samed2d import SAMed2D

from syncsam_lightning.cli.main import main
from syncsam_lightning.commands.prepare import prepare as command
from syncsam_lightning.data.filter import FilterError, RowFilter
from syncsam_lightning.errors import ConversionError, DatasetNotFoundError, TableError
from tests.split_release import Written
from tests.web_server import WebServer

from .slices import EYES, IMAGES, WORK, prepare, same

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


def png(mask: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "png")
    return buffer.getvalue()


def test_a_rule_that_looks_at_other_masks_sees_them_in_a_slice_of_a_class(tmp_path: Path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    wall, apart, across = (np.zeros((20, 20), np.uint8) for _ in range(3))
    wall[2:6, 2:6] = apart[10:14, 10:14] = across[4:9, 4:9] = 255
    (tmp_path / "web").mkdir()
    with zipfile.ZipFile(tmp_path / "web" / "SA-Med2D-16M.zip", "w") as archive:
        index: dict[str, list[str]] = {}
        for number in range(8):
            stem = f"mr_00--ACDC--case_{number}--z_0001"
            index[f"images/{stem}.png"] = []
            archive.writestr(f"SAMed2Dv1/images/{stem}.png", png(pixels + np.uint8(number)))
            for label, mask in ((1, wall), (3, across if number % 2 else apart)):
                name = f"masks/{stem}--{label:04d}_000.png"
                archive.writestr(f"SAMed2Dv1/{name}", png(mask))
                index[f"images/{stem}.png"].append(name)
        archive.writestr("SAMed2Dv1/SAMed2D_v1.json", json.dumps(index))
        archive.writestr(
            "SAMed2Dv1/SAMed2D_v1_class_mapping_id.json", '{"ACDC": {"wall": 1, "cavity": 3}}'
        )
    chosen = RowFilter(label="cavity")
    whole, _ = prepare(tmp_path / "web", tmp_path / "whole.lance", RowFilter())
    ours, _ = prepare(tmp_path / "web", tmp_path / "slice.lance", chosen)
    with WebServer(tmp_path / "web") as server:
        there, _ = prepare(server.address, tmp_path / "there.lance", chosen)
    kept = [row.id for row in whole if "cavity" in row.labels]
    assert (
        [row.id for row in ours] == kept == [f"mr_00--ACDC--case_{n}--z_0001" for n in (0, 2, 4, 6)]
    )
    assert {row.labels for row in ours} == {("cavity",)}
    assert same(ours, there)
