"""Volumes of every format from a folder to a mask: the commands of docs/add_a_dataset.md."""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pytest

from syncsam_lightning.cli.main import main
from syncsam_lightning.data.table import Table
from syncsam_lightning.volumes.reading import read_volume
from syncsam_lightning.volumes.segmentation import write_segmentation
from tests.dicom_files import save_slice
from tests.itk_files import nrrd, save_itk

ROOT = Path(__file__).parents[2]
TINY = Path(__file__).with_name("tiny.yaml")
AFFINE = np.diag([-0.8, -0.7, 2.5, 1.0])
SHAPE = (26, 24, 8)


def liver(case: int) -> np.ndarray:
    """Return ``(I, J, K)`` labels: a liver of 1, in which lies a cyst of 2."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[5 : 18 + case % 3, 5:18, 1:7] = 1
    labels[8:12, 8:12, 3:5] = 2
    return labels


def release(root: Path) -> None:
    """Twelve cases, in turn a DICOM series, NRRD, MetaImage and NIfTI, with masks of all kinds."""
    (root / "masks").mkdir(parents=True)
    for case in range(12):
        labels, image, mask = liver(case), root / f"images/p{case}", root / f"masks/p{case}"
        noise = np.random.default_rng(case).integers(-20, 20, SHAPE)
        voxels = (labels * 60 + noise).astype(np.int16)
        image.parent.mkdir(exist_ok=True)
        kind = (case - 1) % 4
        if kind == 0:
            image.mkdir()
            for k in range(SHAPE[2]):
                save_slice(image / f"IM{k}", voxels[:, :, k].T + 1024, (0.0, 0.0, 2.5 * k))
            segments = {"liver": labels == 1, "cyst": labels == 2}
            write_segmentation(mask.with_suffix(".seg.dcm"), segments, read_volume(image))
        elif kind == 1:
            save_itk(image.with_suffix(".nrrd"), voxels, AFFINE)
            names = ("Segment0_Name:=liver", "Segment0_LabelValue:=1", "Segment0_Layer:=0")
            names += ("Segment1_Name:=cyst", "Segment1_LabelValue:=2", "Segment1_Layer:=0")
            vectors = "(0.8,0,0) (0,0.7,0) (0,0,2.5)"
            data = nrrd(labels, *names, directions=vectors, encoding="gzip")
            mask.with_suffix(".seg.nrrd").write_bytes(data)
        elif kind == 2:
            save_itk(image.with_suffix(".mha"), voxels, AFFINE)
            for value, name in ((1, "liver"), (2, "cyst")):
                save_itk(mask / f"{name}.nrrd", (labels == value).astype(np.uint8), AFFINE)
        else:
            nib.save(nib.Nifti1Image(voxels, AFFINE), image.with_suffix(".nii.gz"))
            for value, name in ((1, "liver"), (2, "cyst")):
                path = mask.with_name(f"{mask.name}--{name}.mha")
                save_itk(path, (labels == value).astype(np.uint8), AFFINE)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    release(tmp_path / "my_volumes")
    return tmp_path


def run(command: str) -> None:
    line = command.replace("resnet34_samed.yaml", str(TINY)).replace("resnet34_samed", "tiny")
    program, *words = shlex.split(line)
    assert program == "syncsam"
    assert main(words) == 0, line


def test_the_commands_of_the_page_work(here: Path):
    page = (ROOT / "docs" / "add_a_dataset.md").read_text(encoding="utf-8")
    section = page.split("### Volumes and DICOM")[1].split("\n### ")[0]
    (block,) = re.findall(r"```\n(syncsam prepare.*?)```", section, re.DOTALL)
    for command in block.strip().splitlines():
        run(command)
    skipped = [json.loads(line) for line in Path("volumes.skipped.jsonl").read_text().splitlines()]
    assert {line["kind"] for line in skipped} == {"slice without object"}
    assert len(skipped) == 12
    table = Table(Path("volumes.lance"))
    rows = table.read(range(len(table)))
    by_case: dict[str, list[tuple[str, int]]] = {}
    for row in sorted(rows, key=lambda row: row.id):
        found = list(zip(row.labels, row.areas.tolist(), strict=True))
        by_case.setdefault(row.case, []).extend(sorted(found))
    for case in range(12):
        labels = liver(case)
        expected = [
            (name, int((labels[:, :, k] == value).sum()))
            for k in range(1, 7)
            for value, name in ((2, "cyst"), (1, "liver"))
            if (labels[:, :, k] == value).any()
        ]
        assert by_case[f"p{case}"] == expected
    assert list(here.rglob("report.md"))
    with Path("predictions/predictions.csv").open(newline="") as file:
        (line,) = csv.DictReader(file)
    seg = hd.seg.segread(Path("predictions") / line["file"])
    assert seg.get_segment_description(1).segment_label == "liver"
