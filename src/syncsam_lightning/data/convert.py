"""Converting a raw release into a table, once, with a report of what could not be used."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import lance
import numpy as np
import pyarrow as pa

from syncsam_lightning.data.codec import collapse_grey, encode_image, encode_mask
from syncsam_lightning.data.readers import resolve_image, resolve_mask
from syncsam_lightning.data.schema import record_batch, table_schema
from syncsam_lightning.data.transforms import fit_image, resize_masks
from syncsam_lightning.errors import BrokenInputError, ConversionError
from syncsam_lightning.geometry import ResizePlan
from syncsam_lightning.records import RawSample, Skipped, Split

log = logging.getLogger(__name__)

_ROWS_PER_BATCH = 64
_EXAMPLES = 3
Row = dict[str, Any]


@dataclass(slots=True)
class ConversionReport:
    """What a conversion made and what it left out.

    Args:
        table: the finished table.
        skipped_file: JSON lines, one ``{"path", "reason"}`` per image or mask left out.
        images: rows written, by split.
        masks: masks written.
        reasons: how often each reason was given.
    """

    table: Path
    skipped_file: Path
    images: Counter[str] = field(default_factory=Counter)
    masks: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: list[Skipped] = field(default_factory=list)

    @property
    def num_skipped(self) -> int:
        """How many images and masks were left out."""
        return self.reasons.total()

    def summary(self) -> str:
        """Return the report in one line."""
        by_split = ", ".join(f"{count} {split}" for split, count in sorted(self.images.items()))
        line = f"{self.table}: {self.images.total()} images ({by_split}), {self.masks} masks"
        if self.num_skipped:
            line += f"; {self.num_skipped} skipped, listed in {self.skipped_file}"
        return line


def skipped_path(table: Path) -> Path:
    """Return where the report of a table lies: ``NAME.skipped.jsonl`` beside ``NAME.lance``."""
    return table.with_name(f"{table.stem}.skipped.jsonl")


def convert(
    samples: Iterable[RawSample | Skipped],
    table: Path,
    *,
    image_size: int,
    split_of: Callable[[RawSample], Split],
    settings: Mapping[str, Any],
) -> ConversionReport:
    """Write a table from the samples of a release.

    Rows for training are stored with their long side at most ``image_size``, the others at the
    original size; both lossless. The table appears under its name when it is whole: an interrupted
    conversion leaves only a ``.partial`` folder, which the next one removes.

    Args:
        samples: of a plugin's ``records``.
        table: folder to create, ending in ``.lance``.
        image_size: long side of stored training rows in pixels.
        split_of: the split of each sample.
        settings: kept with the table, to tell whether it fits a later request.

    Raises:
        ConversionError: nothing could be used.
        FileExistsError: the table is there already.
    """
    if table.exists():
        raise FileExistsError(f"{table} is there already")
    table.parent.mkdir(parents=True, exist_ok=True)
    partial = table.with_name(f"{table.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    report = ConversionReport(table, skipped_path(table))
    schema = table_schema(json.dumps(dict(settings), sort_keys=True).encode())
    try:
        with report.skipped_file.open("w", encoding="utf-8") as skipped:
            writer = _RowWriter(report, skipped, image_size, split_of)
            batches = writer.batches(samples, schema)
            reader = pa.RecordBatchReader.from_batches(schema, batches)
            try:
                lance.write_dataset(reader, str(partial), schema=schema, mode="create")
            except OSError as error:
                # Lance wraps what a generator raises; the cause is what a user can act on.
                raise (writer.failure or error) from None
        if not report.images:
            raise ConversionError(_all_broken(report))
        _sync(partial)
        partial.replace(table)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    log.info("%s", report.summary())
    for reason, count in report.reasons.most_common():
        log.info("  skipped %d: %s", count, reason)
    return report


class _RowWriter:
    def __init__(
        self,
        report: ConversionReport,
        skipped: TextIO,
        image_size: int,
        split_of: Callable[[RawSample], Split],
    ) -> None:
        self._report, self._skipped = report, skipped
        self._image_size, self._split_of = image_size, split_of
        self._ids: set[str] = set()
        self.failure: BaseException | None = None

    def batches(
        self, samples: Iterable[RawSample | Skipped], schema: pa.Schema
    ) -> Iterator[pa.RecordBatch]:
        try:
            rows: list[Row] = []
            for sample in samples:
                if (row := self._row(sample)) is not None:
                    rows.append(row)
                if len(rows) == _ROWS_PER_BATCH:
                    yield record_batch(rows, schema)
                    rows = []
            if rows:
                yield record_batch(rows, schema)
        except BaseException as error:
            self.failure = error
            raise

    def _skip(self, path: str, reason: str) -> None:
        self._skipped.write(json.dumps({"path": path, "reason": reason}) + "\n")
        self._report.reasons[reason] += 1
        if len(self._report.examples) < _EXAMPLES:
            self._report.examples.append(Skipped(path, reason))

    def _row(self, sample: RawSample | Skipped) -> Row | None:
        if isinstance(sample, Skipped):
            self._skip(sample.path, sample.reason)
            return None
        path = sample.path or sample.id
        if not sample.masks:
            self._skip(path, "image without masks")
            return None
        if sample.id in self._ids:
            self._skip(path, f"duplicate id {sample.id}")
            return None
        try:
            image = resolve_image(sample.image, path)
        except BrokenInputError as error:
            self._skip(error.path, error.reason)
            return None
        kept = self._usable_masks(sample, image.shape[:2])
        if not kept:
            self._skip(path, "no usable mask")
            return None
        self._ids.add(sample.id)
        split = self._split_of(sample)
        self._report.images[split] += 1
        self._report.masks += len(kept)
        return self._encode(sample, collapse_grey(image), kept, split)

    def _usable_masks(
        self, sample: RawSample, shape: tuple[int, ...]
    ) -> list[tuple[int, str, np.ndarray]]:
        kept = []
        for mask_id, named in enumerate(sample.masks):
            path = named.path or f"{sample.path or sample.id}::{named.label}"
            try:
                mask = resolve_mask(named.mask, path)
            except BrokenInputError as error:
                self._skip(error.path, error.reason)
                continue
            if mask.shape != shape:
                sizes = f"{mask.shape[0]}x{mask.shape[1]}, its image {shape[0]}x{shape[1]}"
                self._skip(path, f"mask differs from its image in shape: mask {sizes}")
            elif not mask.any():
                self._skip(path, "empty mask")
            else:
                kept.append((mask_id, named.label, mask))
        return kept

    def _encode(
        self,
        sample: RawSample,
        image: np.ndarray,
        kept: list[tuple[int, str, np.ndarray]],
        split: Split,
    ) -> Row:
        height, width = image.shape[:2]
        masks = np.stack([mask for _, _, mask in kept])
        boxes, areas = _tight_boxes(masks), masks.sum(axis=(1, 2)).tolist()
        if split == "train" and max(height, width) > self._image_size:
            image = fit_image(image, ResizePlan(height, width, self._image_size))
            masks = resize_masks(masks, image.shape[0], image.shape[1])
        return {
            "id": sample.id,
            "image": encode_image(image),
            "stored_height": image.shape[0],
            "stored_width": image.shape[1],
            "channels": image.shape[2],
            "height": height,
            "width": width,
            "modality": sample.modality,
            "source": sample.source,
            "case": sample.case,
            "slice": sample.slice,
            "split": split,
            "masks": [encode_mask(mask) for mask in masks],
            "labels": [label for _, label, _ in kept],
            "boxes": boxes,
            "areas": areas,
            "mask_ids": [mask_id for mask_id, _, _ in kept],
        }


def _tight_boxes(masks: np.ndarray) -> list[list[int]]:
    boxes = []
    for mask in masks:
        columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
        boxes.append([int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1])
    return boxes


def _all_broken(report: ConversionReport) -> str:
    if not report.reasons:
        return f"{report.table}: the release holds no images; is this the right folder?"
    examples = "; ".join(f"{skip.path}: {skip.reason}" for skip in report.examples)
    return (
        f"{report.table}: none of the images could be used ({report.num_skipped} skipped); "
        f"the first reasons: {examples}; all are in {report.skipped_file}"
    )


def _sync(folder: Path) -> None:
    """Force a folder's files to disk, so that a table that is there after a power cut is whole."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
