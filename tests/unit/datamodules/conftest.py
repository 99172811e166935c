"""Converting a release as `syncsam prepare` does, and looking at what became of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from syncsam_lightning.data.datamodule import PromptableDataModule


@dataclass(frozen=True)
class Converted:
    """A table: images by id, their masks by id, labels by id; and the lines of its report."""

    images: dict[str, np.ndarray]
    masks: dict[str, list[np.ndarray]]
    labels: dict[str, list[str]]
    skipped: list[dict[str, str]]

    def kinds(self) -> list[str]:
        return sorted(line["kind"] for line in self.skipped)

    def reason(self, kind: str) -> str:
        (line,) = (line for line in self.skipped if line["kind"] == kind)
        return f"{Path(line['path']).name}: {line['reason']}"


@pytest.fixture
def convert(tmp_path: Path) -> Callable[..., Converted]:
    def run(plugin: type[PromptableDataModule], root: Path, **options: Any) -> Converted:
        place = tmp_path / f"{len(list(tmp_path.glob('*.lance')))}.lance"
        datamodule = plugin(str(root), str(place), num_workers=0, batch_size=1, **options)
        datamodule.prepare_data()
        datamodule.setup("test")
        assert datamodule.num_rows("train") == datamodule.num_rows("val") == 0
        rows = [
            row.record() for row in datamodule.rows("test").read(range(datamodule.num_rows("test")))
        ]
        report = place.with_name(f"{place.stem}.skipped.jsonl").read_text().splitlines()
        return Converted(
            images={row.id: row.image for row in rows},
            masks={row.id: list(row.masks) for row in rows},
            labels={row.id: list(row.labels) for row in rows},
            skipped=[json.loads(line) for line in report],
        )

    return run
