"""A split archive with every defect at once: the rest is prepared, and each defect is told."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from syncsam_lightning.commands.prepare import prepare
from syncsam_lightning.data.table import Table
from syncsam_lightning.errors import PART_MISSING, ConversionError

SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "samed2d" / "SAMed2Dv1"
FOLDER = "SAMed2Dv1"
CLASSES = f"{FOLDER}/SAMed2D_v1_class_mapping_id.json"
DAMAGED_IMAGE = "ct_00--Totalsegmentator_dataset--s0114--z_0111"
MASK = f"{FOLDER}/masks/{DAMAGED_IMAGE}--{{}}_000.png"
CORRUPT, MISSING, RESHAPED = MASK.format("0007"), MASK.format("0014"), MASK.format("0017")
ESCAPING = f"../{MASK.format('0001')}"

PART = 1 << 16  # the least that `zip -s` takes
SPLIT_MARK = 4  # bytes before the first entry of a split archive
LOCAL_HEADER = 30

pytestmark = [
    pytest.mark.skipif(not SAMPLE.is_dir(), reason=f"no sample data at {SAMPLE}"),
    pytest.mark.skipif(shutil.which("zip") is None, reason="the zip program is not installed"),
]


def damaged_tree(folder: Path) -> None:
    shutil.copytree(SAMPLE, folder / FOLDER)
    (folder / MISSING).unlink()
    Image.new("L", (7, 9), 255).save(folder / RESHAPED)
    # Spaces after the JSON bring the end of this entry, stored first, to the end of a part.
    classes = folder / CLASSES
    size = PART - SPLIT_MARK - LOCAL_HEADER - len(CLASSES)
    classes.write_bytes(classes.read_bytes().ljust(size))
    escaping = folder / ESCAPING
    escaping.parent.mkdir(parents=True)
    shutil.copy(folder / MASK.format("0001"), escaping)


def split_archive(folder: Path) -> list[Path]:
    """Zip what lies in a folder, and damage the result where `zip` itself won't."""
    names = sorted(str(file.relative_to(folder)) for file in (folder / FOLDER).rglob("*.*"))
    names = [CLASSES, *(name for name in names if name != CLASSES), ESCAPING]
    command = ["zip", "--quiet", "-0", "-X", "-s", "64k", "release.zip", *names]
    subprocess.run(command, cwd=folder, check=True)
    parts = [*sorted(folder.glob("release.z0*")), folder / "release.zip"]
    record_at_end_of_part(parts)
    corrupt(parts, CORRUPT)
    return parts


def record_at_end_of_part(parts: list[Path]) -> None:
    """Move the entry at the start of part 2 to the end of part 1, as some splits record it."""
    data = bytearray(parts[-1].read_bytes())
    disk_and_offset = struct.Struct("<H6xI")
    found = [
        at for at in central_headers(data) if disk_and_offset.unpack_from(data, at + 34) == (1, 0)
    ]
    assert len(found) == 1, "no entry starts with a part"
    disk_and_offset_at = found[0] + 34
    struct.pack_into("<H", data, disk_and_offset_at, 0)
    struct.pack_into("<I", data, disk_and_offset_at + 8, PART)
    parts[-1].write_bytes(data)


def central_headers(data: bytes | bytearray) -> list[int]:
    found, at = [], data.find(b"PK\1\2")
    while at >= 0:
        found.append(at)
        at = data.find(b"PK\1\2", at + 4)
    return found


def corrupt(parts: list[Path], name: str) -> None:
    """Flip a bit in the middle of a stored file."""
    for part in parts:
        data = bytearray(part.read_bytes())
        header = data.find(name.encode())
        if header >= 0:
            data[header + len(name) + 200] ^= 1
            part.write_bytes(data)
            return
    raise AssertionError(f"{name} is in no part")


def told(table: Path) -> dict[str, str]:
    """Return what kind of defect is listed beside a table, by path."""
    lines = table.with_name(f"{table.stem}.skipped.jsonl").read_text().splitlines()
    skips = [json.loads(line) for line in lines]
    assert len({skip["path"] for skip in skips}) == len(skips)
    return {skip["path"]: skip["kind"] for skip in skips}


def objects(table: Path) -> dict[str, tuple[bytes, set[tuple[str, bytes]]]]:
    """Return each image with its named masks, by id."""
    opened = Table(table)
    return {
        record.id: (
            record.image.tobytes(),
            {
                (label, np.packbits(mask).tobytes())
                for label, mask in zip(record.labels, record.masks, strict=True)
            },
        )
        for record in opened.read(range(len(opened)))
    }


@pytest.mark.promise(
    "Input: of a damaged release all that is whole is used, and every defect is named"
)
def test_every_defect_is_told_and_nothing_else_is_lost(tmp_path: Path, capsys) -> None:
    whole, broken = tmp_path / "whole.lance", tmp_path / "broken.lance"
    prepare("SAMed2D", str(SAMPLE), str(whole), workers=1)

    work = tmp_path / "a" / "b"
    work.mkdir(parents=True)
    damaged_tree(work)
    parts = split_archive(work)
    assert len(parts) > 3
    release = tmp_path / "release"
    release.mkdir()
    for part in parts:
        part.rename(release / part.name)
    prepare("SAMed2D", str(release), str(broken), workers=2)

    without_masks = f"{FOLDER}/images/ct_00--AMOS2022--amos_0507--z_0031.png"  # in the sample too
    assert told(broken) == {
        CORRUPT: "unreadable file",
        MISSING.removeprefix(f"{FOLDER}/"): "named by the index, missing",
        RESHAPED: "shape mismatch",
        ESCAPING: "unsafe name",
        without_masks: "image without masks",
    }
    summary = capsys.readouterr().out
    for kind in told(broken).values():
        assert f"1  {kind}" in summary

    expected = objects(whole)
    image, masks = expected[DAMAGED_IMAGE]
    lost = {"heart_atrium_left", "lung_lower_lobe_left", "lung_upper_lobe_left"}
    kept = {(label, mask) for label, mask in masks if label not in lost}
    assert len(kept) == len(masks) - 3
    expected[DAMAGED_IMAGE] = image, kept
    assert objects(broken) == expected


@pytest.fixture
def many_parts(tmp_path: Path) -> list[Path]:
    """A sound release whose masks fill more than one part."""
    folder = tmp_path / "work"
    shutil.copytree(SAMPLE, folder / FOLDER)
    rng = np.random.default_rng(0)
    for number in range(40):
        name = MASK.format(f"{100 + number:04d}")
        mask = (rng.random((181, 258)) < 0.5).astype(np.uint8) * 255
        Image.fromarray(mask).save(folder / name)
    command = ["zip", "--quiet", "-r", "-0", "-s", "64k", "release.zip", FOLDER]
    subprocess.run(command, cwd=folder, check=True)
    parts = sorted(folder.glob("release.z*"))
    assert len(parts) > 6
    return parts


@pytest.mark.parametrize("damage", ["missing", "cut off"])
def test_a_lost_part_is_told_before_any_work_is_done(
    many_parts: list[Path], tmp_path: Path, damage: str
) -> None:
    lost = many_parts[-3]
    data = lost.read_bytes()
    lost.unlink()
    if damage == "cut off":
        lost.write_bytes(data[:1000])
    table = tmp_path / "t.lance"
    with pytest.raises(ConversionError, match=f"files could not be read.*{lost.name}.*download"):
        prepare("SAMed2D", str(many_parts[-1]), str(table), workers=1)
    assert not table.exists()

    lost.write_bytes(data)
    prepare("SAMed2D", str(many_parts[-1]), str(table), workers=1)
    assert set(told(table).values()) == {"image without masks"}


def test_a_lost_part_that_is_let_pass_is_listed_once_by_source(
    many_parts: list[Path], tmp_path: Path
) -> None:
    many_parts[-3].unlink()
    table = tmp_path / "t.lance"
    prepare("SAMed2D", str(many_parts[-1]), str(table), workers=1, max_unreadable=1)
    lines = table.with_name("t.skipped.jsonl").read_text().splitlines()
    lost = [skip for skip in map(json.loads, lines) if skip["kind"] == PART_MISSING]
    assert len(lost) > 10
    assert all(skip["source"] for skip in lost)
    assert len(told(table)) == len(lines)
