"""The folders that `syncsam test` leaves, as runs of named models."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from syncsam_lightning.errors import ComparisonError

SCORES = "scores.parquet"
"""The file that makes a folder a result."""

# Dictionaries keep the texts of millions of rows small.
_TEXT = pa.dictionary(pa.int32(), pa.string())
_TEXTS = ("image_id", "label", "source", "modality", "case", "protocol")
_TYPES = {
    **dict.fromkeys(_TEXTS, _TEXT),
    **dict.fromkeys(("mask_id", "version", "area", "seed"), pa.int64()),
    **dict.fromkeys(("dice", "fill_box_dice"), pa.float64()),
}
_MAY_BE_NULL = ("dice", "seed")
_UNTOLD = re.compile(r"test|version_\d+")


@dataclass(frozen=True, slots=True)
class Run:
    """One result folder.

    Args:
        model: the name it goes by in the comparison.
        folder: that holds ``scores.parquet``.
        scores: a row per protocol, seed and mask. Texts are dictionary-encoded; ``seed`` is 0
            where the file has none; ``dice`` is in [0, 1] and never null.
        details: what ``run.json`` tells about the run; empty without the file.
        notes: what a reader of the comparison should know about the folder.
    """

    model: str
    folder: Path
    scores: pa.Table
    details: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_runs(results: Sequence[str]) -> list[Run]:
    """Read result folders, each given as ``FOLDER`` or ``NAME=FOLDER``.

    Args:
        results: what the user named. Folders of one name are several runs of one model. Without a
            name it is that of the run, ``resnet34`` for ``logs/resnet34/version_0/test``; where
            that is taken, it is the folder, so that only what was named alike is taken together.

    Raises:
        ComparisonError: a folder is given twice, is no result, or is damaged.
    """
    if not results:
        raise ComparisonError("nothing to compare: give the folders that `syncsam test` wrote")
    named = [_name_and_folder(text) for text in results]
    derived = [name or _name_of(folder) for name, folder in named]
    runs: list[Run] = []
    seen: dict[Path, str] = {}
    for text, (name, folder), short in zip(results, named, derived, strict=True):
        place = _result_folder(folder)
        # One folder given twice would make a model its own second run.
        if (whole := place.resolve()) in seen:
            raise ComparisonError(f"{seen[whole]} and {text} are the same folder: leave one out")
        seen[whole] = text
        is_taken = derived.count(short) > 1
        runs.append(_read(name or (str(folder) if is_taken else short), place))
    return runs


def _name_and_folder(text: str) -> tuple[str | None, Path]:
    name, equals, path = text.partition("=")
    if not equals or Path(text).exists():
        return None, Path(text)
    if not name.strip() or not path:
        raise ComparisonError(f"{text!r} is neither FOLDER nor NAME=FOLDER")
    return name.strip(), Path(path)


def _name_of(folder: Path) -> str:
    telling = [part for part in folder.parts if not _UNTOLD.fullmatch(part)]
    return telling[-1] if telling else folder.resolve().parent.name


def _result_folder(folder: Path) -> Path:
    for place in (folder, folder / "test"):
        if (place / SCORES).is_file():
            return place
    what = "holds no scores.parquet" if folder.is_dir() else "does not exist"
    raise ComparisonError(f"{folder} {what}: give the folder `test` that `syncsam test` wrote")


def _read(model: str, folder: Path) -> Run:
    path = folder / SCORES
    try:
        table = pq.read_table(path, read_dictionary=list(_TEXTS))
        present = set(table.column_names)  # names that are no text are an error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ComparisonError(f"{path} can't be read: {error}; measure the model again") from error
    missing = [name for name in _TYPES if name not in present and name != "seed"]
    if missing:
        raise ComparisonError(
            f"{path} has no column {', '.join(missing)}: it is no file of `syncsam test`, or of an "
            "older version; measure the model again"
        )
    if not table.num_rows:
        raise ComparisonError(f"{path} holds no scores")
    scores = pa.table({name: _column(path, table, name, kind) for name, kind in _TYPES.items()})
    scored = pc.fill_null(pc.is_finite(scores["dice"]), False)
    notes = []
    if unscored := len(scores) - pc.sum(scored).as_py():
        notes.append(f"{path}: {unscored} rows without a DSC are left out")
    scores = scores.filter(scored)
    _check_range(path, scores)
    return Run(model, folder, scores, _details(folder), tuple(notes))


def _column(path: Path, table: pa.Table, name: str, kind: pa.DataType) -> pa.ChunkedArray:
    if name == "seed" and name not in table.column_names:
        return pa.chunked_array([pa.repeat(pa.scalar(0, kind), len(table))])
    column = table[name]
    if column.null_count and name not in _MAY_BE_NULL:
        raise ComparisonError(f"{path}: column {name} has {column.null_count} rows without a value")
    try:
        column = column.cast(kind)
    except (pa.ArrowException, ValueError) as error:
        raise ComparisonError(f"{path}: column {name} can't be used: {error}") from error
    return pc.fill_null(column, 0) if name == "seed" else column


def _check_range(path: Path, scores: pa.Table) -> None:
    if not scores.num_rows:
        raise ComparisonError(f"{path} holds no row with a DSC")
    least, most = pc.min_max(scores["dice"]).as_py().values()
    if least < 0 or most > 1:
        raise ComparisonError(f"{path}: dice must be in [0, 1], found {least:g} to {most:g}")


def _details(folder: Path) -> dict[str, Any]:
    path = folder / "run.json"
    if not path.is_file():
        return {}
    try:
        details = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ComparisonError(f"{path} is no JSON: {error}; remove it to go on") from error
    if not isinstance(details, dict):
        raise ComparisonError(f"{path} must hold an object; remove it to go on")
    return details
