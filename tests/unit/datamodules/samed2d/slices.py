"""Slices of the generated release, and whether two tables are the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from syncsam_datamodules.samed2d import SAMed2D

from syncsam_lightning.data.conversion import ConversionReport, WorkOptions
from syncsam_lightning.data.filter import RowFilter
from syncsam_lightning.records import ImageRecord

EYES = RowFilter(modality="fundus_photography")
WORK = WorkOptions(progress=False)
IMAGES = 280


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
