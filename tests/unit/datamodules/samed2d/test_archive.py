"""The release as stored: every image with its masks, every defect listed, wherever files lie."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from syncsam_datamodules import samed2d
from syncsam_datamodules.samed2d import SAMed2D

from syncsam_lightning.data.conversion import WorkOptions
from syncsam_lightning.data.sources import Entry
from syncsam_lightning.errors import BrokenInputError, ConversionError, DatasetNotFoundError
from syncsam_lightning.records import ImageRecord, Skipped

SHARED = Path(__file__).parents[5] / "shared" / "data" / "samed2d"
HEIGHT, WIDTH = 12, 18
FOLDER = "SAMed2Dv1/"


@dataclass(frozen=True)
class StoredFiles:
    """Files in a fixed order, as an archive stores them; None cannot be read."""

    files: tuple[tuple[str, bytes | None], ...]
    unsafe: tuple[Skipped, ...] = ()

    def entries(self) -> Iterator[Entry | Skipped]:
        yield from self.unsafe
        for name, data in self.files:
            yield Entry(name, len(data or b""))

    def read(self, entry: Entry) -> bytes:
        data = dict(self.files)[entry.name]
        if data is None:
            raise BrokenInputError(entry.name, "checksum differs")
        return data


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def stem(number: int) -> str:
    return f"ct_00--AMOS2022--case_{number // 2}--z_{number:04d}"


def image_pixels(number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    return rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def mask_pixels(number: int, label: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[label : label + 3, number : number + 5] = 255
    return mask


class Archive:
    """Six images with two masks each; masks lie before, between and behind the images."""

    def __init__(self) -> None:
        self.images = {f"{stem(n)}.png": png(image_pixels(n)) for n in range(6)}
        self.masks: dict[str, bytes | None] = {
            f"{stem(n)}--{label:04d}_000.png": png(mask_pixels(n, label))
            for label in (1, 0)
            for n in range(6)
        }
        self.index = {
            f"images/{image}": [
                f"masks/{mask}" for mask in self.masks if mask.startswith(image[:-4])
            ]
            for image in self.images
        }
        self.others: dict[str, bytes] = {}
        self.unsafe: tuple[Skipped, ...] = ()

    def source(self, seed: int = 0) -> StoredFiles:
        files: dict[str, bytes | None] = {
            f"{FOLDER}images/{name}": data for name, data in self.images.items()
        }
        files |= {f"{FOLDER}masks/{name}": data for name, data in self.masks.items()}
        files[FOLDER + samed2d.INDEX] = json.dumps(self.index).encode()
        files[FOLDER + samed2d.CLASSES] = b'{"AMOS2022": {"liver": 0, "spleen": 1}}'
        files |= self.others
        names = np.array(sorted(files), object)
        np.random.default_rng(seed).shuffle(names)
        return StoredFiles(tuple((name, files[name]) for name in names), self.unsafe)


@dataclass(frozen=True)
class Prepared:
    records: dict[str, ImageRecord]
    skipped: list[dict[str, str]]
    order: list[str]
    summary: str

    def reasons(self) -> dict[str, str]:
        return {skip["path"].removeprefix(FOLDER): skip["kind"] for skip in self.skipped}


@pytest.fixture
def prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    count = iter(range(100))

    def run(
        source: StoredFiles,
        unit_size: int | None = None,
        *,
        folder: str = "",
        max_unreadable: float = 1,
        at: Callable[[str], None] = lambda moment: None,
        **options: Any,
    ) -> Prepared:
        monkeypatch.setattr(samed2d, "open_source", lambda root, options: source)
        table = tmp_path / (folder or f"{next(count)}") / "t.lance"
        root = tmp_path / "release.zip"
        root.touch()
        datamodule = SAMed2D(str(root), str(table), image_size=16, test_fraction=0.34, **options)
        work = WorkOptions(
            unit_size=unit_size, max_unreadable=max_unreadable, progress=False, at=at
        )
        report = datamodule.prepare(work)
        assert report is not None
        assert [path.name for path in table.parent.iterdir() if path != table] == [
            "t.skipped.jsonl"
        ]
        lines = (table.parent / "t.skipped.jsonl").read_text().splitlines()
        rows = datamodule.table.read(range(len(datamodule.table)))
        return Prepared(
            {row.id: row for row in rows},
            [json.loads(line) for line in lines],
            [row.id for row in rows],
            report.details(datamodule.card.published),
        )

    return run


def test_every_image_finds_its_masks_and_keeps_its_pixels(prepare):
    prepared = prepare(Archive().source())
    assert prepared.skipped == []
    assert sorted(prepared.records) == [stem(n) for n in range(6)]
    for number in range(6):
        row = prepared.records[stem(number)]
        assert (row.modality, row.source, row.case) == ("ct", "AMOS2022", f"case_{number // 2}")
        assert row.labels == ("liver", "spleen")
        np.testing.assert_array_equal(row.boxes[1], [number, 1, min(number + 5, WIDTH), 4])
        if row.split == "test":
            np.testing.assert_array_equal(row.image, image_pixels(number))
            for label in range(2):
                np.testing.assert_array_equal(row.masks[label], mask_pixels(number, label) > 0)
    assert {row.split for row in prepared.records.values()} >= {"train", "test"}


@pytest.mark.parametrize("seed", [1, 2])
def test_rows_lie_in_storage_order_and_do_not_depend_on_it(prepare, seed: int):
    source = Archive().source(seed)
    stored = [
        name.removeprefix(FOLDER + "images/")[:-4]
        for name, _ in source.files
        if name.startswith(FOLDER + "images/")
    ]
    prepared, reference = prepare(source, unit_size=1), prepare(Archive().source())
    assert prepared.order == stored
    for name, row in reference.records.items():
        np.testing.assert_array_equal(prepared.records[name].masks, row.masks)
        assert prepared.records[name].labels == row.labels


def test_every_defect_is_listed_and_nothing_else_is_lost(prepare):
    archive = Archive()
    corrupt, bare, shape, empty, gone = (f"{stem(n)}--0000_000.png" for n in range(5))
    archive.masks[corrupt] = None
    del archive.masks[bare], archive.masks[f"{stem(1)}--0001_000.png"]
    archive.masks[shape] = png(np.full((5, 5), 255, np.uint8))
    archive.masks[empty] = png(np.zeros((HEIGHT, WIDTH), np.uint8))
    del archive.masks[gone]
    del archive.images[f"{stem(5)}.png"]
    archive.masks["ct_00--AMOS2022--a.png"] = png(mask_pixels(0, 0))
    archive.images["strange.png"] = png(image_pixels(0))
    archive.others[f"{FOLDER}notes.txt"] = b"hello"
    archive.unsafe = (Skipped("../evil.png", "leaves the release", "unsafe path"),)
    prepared = prepare(archive.source())
    missing = "named by the index, missing"
    assert prepared.reasons() == {
        "../evil.png": "unsafe path",
        f"masks/{corrupt}": "unreadable file",
        f"masks/{bare}": missing,
        f"masks/{stem(1)}--0001_000.png": missing,
        f"images/{stem(1)}.png": "image without masks",
        f"masks/{shape}": "shape mismatch",
        f"masks/{empty}": "empty mask",
        f"masks/{gone}": missing,
        f"images/{stem(5)}.png": missing,
        f"masks/{stem(5)}--0000_000.png": "mask without image",
        f"masks/{stem(5)}--0001_000.png": "mask without image",
        "masks/ct_00--AMOS2022--a.png": "malformed name",
        "images/strange.png": "malformed name",
        "notes.txt": "unknown file",
    }
    assert len(prepared.skipped) == 14
    assert sorted(prepared.records) == [stem(n) for n in (0, 2, 3, 4)]
    assert [prepared.records[stem(n)].labels for n in (0, 4)] == [("spleen",), ("spleen",)]
    assert "4  named by the index, missing (AMOS2022)" in prepared.summary
    assert "ct                            4           4    1,645,894, 5,533,808" in prepared.summary


def test_an_unreadable_image_is_listed_and_its_masks_are_no_loss_of_others(prepare):
    archive = Archive()
    archive.images[f"{stem(2)}.png"] = archive.images[f"{stem(2)}.png"][:60]
    prepared = prepare(archive.source())
    assert prepared.reasons() == {f"images/{stem(2)}.png": "unreadable file"}
    assert len(prepared.records) == 5


def test_an_archive_without_its_index_is_used_and_the_lack_told(prepare):
    files = tuple(file for file in Archive().source().files if samed2d.INDEX not in file[0])
    prepared = prepare(StoredFiles(files))
    assert prepared.reasons() == {samed2d.INDEX: "missing index"}
    assert len(prepared.records) == 6


@pytest.mark.parametrize(
    ("dropped", "said"),
    [("images/", "no images/NAME.png is in it"), (samed2d.CLASSES, f"{samed2d.CLASSES} is not")],
)
def test_an_archive_of_something_else_is_told(prepare, tmp_path: Path, dropped: str, said: str):
    files = tuple(file for file in Archive().source().files if dropped not in file[0])
    with pytest.raises(DatasetNotFoundError, match=said):
        prepare(StoredFiles(files))
    assert list(tmp_path.rglob("*.partial")) == []


def test_an_archive_with_nothing_usable_names_the_first_reasons(prepare):
    archive = Archive()
    archive.masks = dict.fromkeys(archive.masks, None)
    with pytest.raises(ConversionError, match=r"none of the images .* checksum differs"):
        prepare(archive.source())


@pytest.mark.parametrize("unit_size", [1, 5, None])
def test_a_damaged_archive_is_refused_and_goes_on_when_it_is_mended(prepare, unit_size):
    damaged, whole = Archive(), Archive()
    for name in sorted(damaged.masks)[:11]:
        damaged.masks[name] = None
    with pytest.raises(ConversionError, match="11 files could not be read"):
        prepare(damaged.source(), unit_size, folder="t", max_unreadable=0.9)
    resumed = prepare(whole.source(), unit_size, folder="t")
    undisturbed = prepare(whole.source(), unit_size)
    assert resumed.skipped == undisturbed.skipped == []
    assert resumed.order == undisturbed.order
    for image, row in undisturbed.records.items():
        assert resumed.records[image].labels == row.labels
        np.testing.assert_array_equal(resumed.records[image].masks, row.masks)


def test_a_mask_that_was_mended_in_between_is_found(prepare):
    class KilledError(Exception):
        pass

    def kill(moment: str) -> None:
        if moment == "before commit":
            raise KilledError

    damaged, whole = Archive(), Archive()
    lost = next(name for name in sorted(damaged.masks) if name.startswith(stem(2)))
    damaged.masks[lost] = None
    with pytest.raises(KilledError):
        prepare(damaged.source(), 1, folder="t", at=kill)
    assert prepare(whole.source(), 1, folder="t").records[stem(2)].labels == ("liver", "spleen")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the sample data are not beside the repository")
def test_the_sample_data_give_the_same_rows_as_unpacked(prepare, tmp_path: Path):
    files = [path for path in SHARED.rglob("*") if path.is_file()]
    stored = StoredFiles(
        tuple((path.relative_to(SHARED).as_posix(), path.read_bytes()) for path in files)
    )
    prepared = prepare(stored)
    unpacked = SAMed2D(str(SHARED), str(tmp_path / "tree.lance"), image_size=16, test_fraction=0.34)
    unpacked.prepare(WorkOptions(progress=False))
    rows = unpacked.table.read(range(len(unpacked.table)))
    assert sorted(prepared.records) == sorted(row.id for row in rows)
    for row in rows:
        other = prepared.records[row.id]
        np.testing.assert_array_equal(other.image, row.image)
        ours = sorted(zip(other.labels, other.masks, other.areas, strict=True), key=key)
        theirs = sorted(zip(row.labels, row.masks, row.areas, strict=True), key=key)
        for (label, mask, area), (its_label, its_mask, its_area) in zip(ours, theirs, strict=True):
            assert (label, area) == (its_label, its_area)
            np.testing.assert_array_equal(mask, its_mask)


def key(thing: tuple[str, np.ndarray, np.int64]) -> tuple[str, int, bytes]:
    label, mask, area = thing
    return label, int(area), mask.tobytes()
