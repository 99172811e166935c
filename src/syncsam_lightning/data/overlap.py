"""What lies on two sides of the rows in use: images by their pixels, patients by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa

from syncsam_lightning.data.codec import DIGEST_SIZE
from syncsam_lightning.data.families import numbering_of, shared
from syncsam_lightning.data.index import TableIndex
from syncsam_lightning.data.schema import IMAGE_DIGEST
from syncsam_lightning.data.sides import CasesBySide, listed
from syncsam_lightning.data.table import Table
from syncsam_lightning.errors import TableError
from syncsam_lightning.records import SPLITS, Split

_NAMED = 3


@dataclass(frozen=True, slots=True)
class UsedRows:
    """The rows of a table that a run uses.

    Args:
        table: where they lie.
        index: of the table.
        chosen: ``(rows,)`` bool.
    """

    table: Table
    index: TableIndex
    chosen: np.ndarray

    def in_split(self, split: Split) -> np.ndarray:
        """Return ``(rows,)`` bool: which rows of a split are used."""
        found: np.ndarray = self.chosen & self.index.in_split(split)
        return found

    def key(self) -> str:
        """Return what tells the table from others, wherever it lies."""
        return blake2b(self.index.checksums.astype("<u4").tobytes(), digest_size=8).hexdigest()


def notes_on_rows(parts: Sequence[UsedRows]) -> list[str]:
    """Return what lies on two sides of the tables of a run, a sentence for each kind.

    Images are compared within and over tables, by the hash of their original pixels (tables of
    format 3 on); 16 bytes a row are read and 8 kept meanwhile. Patients are compared over tables:
    within one, the report of its conversion has told.

    Raises:
        TableError: a table can't be read.
    """
    notes = _equal_images([part for part in parts if IMAGE_DIGEST in part.table.columns])
    if len(parts) > 1:
        cases = CasesBySide()
        for part in parts:
            _add_cases(cases, part)
        notes += cases.notes("the splits of the tables")
    return notes


def _equal_images(parts: Sequence[UsedRows]) -> list[str]:
    digests = [_digests(part.table) for part in parts]
    keys: dict[Split, list[np.ndarray]] = {
        split: [found[part.in_split(split)] for part, found in zip(parts, digests, strict=True)]
        for split in SPLITS
    }
    # Not np.unique, which hashes: twenty times as slow.
    known = {
        split: np.sort(np.concatenate([*keys[split], np.zeros(0, np.uint64)])) for split in SPLITS
    }
    notes = []
    for seen, measured in combinations(SPLITS, 2):
        equal = [_is_among(found, known[seen]) for found in keys[measured]]
        if count := sum(int(found.sum()) for found in equal):
            total = sum(map(len, equal))
            names = [
                name
                for part, found in zip(parts, equal, strict=True)
                for name in part.table.ids(np.flatnonzero(part.in_split(measured))[found][:_NAMED])
            ]
            notes.append(
                f"{count:,} of {total:,} {measured} images are equal, pixel for pixel, to {seen} "
                f"images: {', '.join(names[:_NAMED])}{', ...' if count > _NAMED else ''}"
            )
    return notes


def _digests(table: Table) -> np.ndarray:
    """Return ``(rows,)`` uint64: the first half of each digest, which is enough to compare by."""
    found = [np.zeros(0, np.uint64)]
    for batch in table.scan([IMAGE_DIGEST]):
        column = batch.column(IMAGE_DIGEST)
        if column.type != pa.binary(DIGEST_SIZE):
            raise TableError(f"{table} has {IMAGE_DIGEST} of type {column.type}: prepare it again")
        end = column.offset + len(column)
        values = np.frombuffer(column.buffers()[1], np.uint64, 2 * end)
        found.append(values[2 * column.offset :: 2].copy())
    return np.concatenate(found)


def _is_among(keys: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return which keys are among ascending ones."""
    if not len(known):
        return np.zeros(len(keys), bool)
    places = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    found: np.ndarray = known[places] == keys
    return found


def _add_cases(cases: CasesBySide, part: UsedRows) -> None:
    begin = 0
    for batch in part.table.scan(["source", "case"]):
        rows = slice(begin, begin + batch.num_rows)
        source, case = (batch.column(name).dictionary_encode() for name in ("source", "case"))
        codes = np.stack(
            [
                source.indices.to_numpy(),
                case.indices.to_numpy(),
                part.index.split.codes[rows],
            ],
            axis=1,
        )[part.chosen[rows]]
        sources, names = source.dictionary.to_pylist(), case.dictionary.to_pylist()
        for source_code, case_code, split_code in np.unique(codes, axis=0).tolist():
            side: Any = part.index.split.values[split_code]
            cases.add(sources[source_code], names[case_code], side)
        begin = rows.stop


def training_record(parts: Sequence[UsedRows]) -> dict[str, list[str]]:
    """Return what a checkpoint keeps of the rows that it was trained on: names, no patients."""
    sources = {name for part in parts for name in part.index.source.present(part.in_split("train"))}
    return {"tables": [part.key() for part in parts], "sources": sorted(sources)}


def notes_on_training(parts: Sequence[UsedRows], record: Mapping[str, Any]) -> list[str]:
    """Return which data sets that are tested share patients with those that were trained on.

    A table that was trained on is left out: its split has parted the patients.

    Args:
        parts: that are tested.
        record: of :func:`training_record`.
    """
    others = [part for part in parts if part.key() not in record.get("tables", ())]
    tested = {name for part in others for name in part.index.source.present(part.in_split("test"))}
    trained = list(map(str, record.get("sources", ())))
    pairs = [
        f"{name} ({listed(found)})"
        for name in sorted(tested)
        if (found := sorted(other for other in trained if _share_patients(name, other)))
    ]
    if not pairs:
        return []
    return [
        "the weights were trained on data sets that share patients with those tested, whose scores "
        f"may be of patients seen in training: {listed(pairs, '; ')}"
    ]


def _share_patients(left: str, right: str) -> bool:
    one, other = numbering_of(left), numbering_of(right)
    if one is None or other is None:
        return left.casefold() == right.casefold()
    return one == other or bool(shared({one.name, other.name}))
