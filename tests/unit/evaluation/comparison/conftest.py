"""Small result folders with known answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from syncsam_lightning.evaluation.comparison.pairing import PairedScores, pair
from syncsam_lightning.evaluation.comparison.results import read_runs

SCORE = {
    "index": 0,
    "image_id": "i",
    "mask_id": 0,
    "label": "liver",
    "source": "A",
    "modality": "ct",
    "case": "c",
    "protocol": "box",
    "version": 1,
    "area": 10,
    "iou": 0.5,
    "fill_box_dice": 0.5,
}
Write = Callable[..., Path]


@pytest.fixture
def write_result(tmp_path: Path) -> Write:
    """Write ``scores.parquet`` from rows that say only what matters to a test."""

    def write(
        name: str,
        rows: Sequence[Mapping[str, Any]],
        prompts: Sequence[Mapping[str, Any]] | None = None,
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        table = pa.Table.from_pylist([SCORE | row for row in rows])
        pq.write_table(table, folder / "scores.parquet")
        if prompts is not None:
            write_prompt_rows(folder, prompts)
        return folder

    return write


def write_prompt_rows(folder: Path, prompts: Sequence[Mapping[str, Any]]) -> None:
    nothing = {"box": None, "points": None, "point_labels": None}
    defaults = {"image_id": "i", "mask_id": 0, "protocol": "box", "version": 1, "round": 0}
    schema = pa.schema(
        [
            ("image_id", pa.string()),
            ("mask_id", pa.int32()),
            ("protocol", pa.string()),
            ("version", pa.int32()),
            ("round", pa.int32()),
            ("box", pa.list_(pa.float64())),
            ("points", pa.list_(pa.list_(pa.float64(), 2))),
            ("point_labels", pa.list_(pa.int8())),
        ]
    )
    rows = [defaults | nothing | prompt for prompt in prompts]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / "prompts.parquet")


@pytest.fixture
def rows() -> Callable[..., list[dict[str, Any]]]:
    """Rows of images ``i0, i1, ...``, each a case of its own, with these DSCs."""

    def make(values: Sequence[float], **kwargs: Any) -> list[dict[str, Any]]:
        return [
            {"index": n, "image_id": f"i{n}", "case": f"c{n}", "dice": value, **kwargs}
            for n, value in enumerate(values)
        ]

    return make


@pytest.fixture
def paired(write_result: Write) -> Callable[..., PairedScores]:
    """Pair results given as ``name=rows``; several runs of a model as ``name=[rows, rows]``."""

    def make(**models: Sequence[Any]) -> PairedScores:
        results = []
        for model, runs in models.items():
            for number, rows in enumerate(runs if isinstance(runs[0], list) else [runs]):
                results.append(f"{model}={write_result(f'{model}{number}/test', rows)}")
        return pair(read_runs(results))

    return make
