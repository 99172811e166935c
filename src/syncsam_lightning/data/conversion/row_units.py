"""The stage that writes rows: units of samples in, uncommitted fragments of the table out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa

from syncsam_lightning.data.conversion.rows import Row, RowMaker
from syncsam_lightning.data.conversion.target import is_table
from syncsam_lightning.data.conversion.units import Unit, identify_files
from syncsam_lightning.data.conversion.workbench import Outcome
from syncsam_lightning.data.keys import SeenKeys
from syncsam_lightning.data.lance_files import Fragment, write_fragments
from syncsam_lightning.data.schema import record_batch
from syncsam_lightning.errors import NOT_FOUND
from syncsam_lightning.records import UNKNOWN_KIND, LazyMasks, RawSample, Skipped, Split
from syncsam_lightning.seeding import stable_key

Item: TypeAlias = Skipped | tuple[RawSample, Split]

_ROWS_PER_BATCH, _BYTES_PER_BATCH = 64, 16 << 20


def assign(
    samples: Iterable[RawSample | Skipped], split_of: Callable[[RawSample], Split]
) -> Iterator[Item]:
    """Give each sample its split; what needs no pixels to be refused is refused here."""
    seen = SeenKeys()
    for sample in samples:
        if isinstance(sample, Skipped):
            yield _lost_if_not_there(sample)
            continue
        path = sample.path or sample.id
        if not sample.masks:
            yield Skipped(path, "image without masks", "image without masks", sample.source)
        elif not _is_utf8(sample):
            yield Skipped(path, "a name of it is not UTF-8", "name is not UTF-8", sample.source)
        elif not seen.add(stable_key(sample.id)):
            yield Skipped(path, f"duplicate id {sample.id}", "duplicate id", sample.source)
        else:
            yield sample, split_of(sample)


def _lost_if_not_there(skip: Skipped) -> Skipped:
    """Return what was skipped, as not found if a plugin gave it no kind and its file is not there.

    A release of which most is missing has to stop the conversion, whether or not its plugin knows
    how to call that.
    """
    folder, _, name = skip.path.rpartition(os.sep)
    # What ends with a bracket may be a slice of a file: that there is no such file says nothing.
    if skip.kind != UNKNOWN_KIND or not folder or "\0" in skip.path or name.endswith("]"):
        return skip
    is_lost = Path(folder).is_dir() and not Path(skip.path).exists()
    return replace(skip, kind=NOT_FOUND) if is_lost else skip


def _is_utf8(sample: RawSample) -> bool:
    names = [sample.id, sample.modality, sample.source, sample.case, sample.slice]
    if not isinstance(sample.masks, LazyMasks):
        names += [mask.label for mask in sample.masks]
    try:
        "".join(names).encode()
    except UnicodeEncodeError:
        return False
    return True


def identify(item: Item) -> Iterator[object]:
    """Yield all of an item but pixels: a unit of the same names and files is the same unit."""
    if isinstance(item, Skipped):
        yield from (item.path, item.reason, item.kind, item.source)
        return
    sample, split = item
    yield from (sample.id, sample.path, sample.modality, sample.source, sample.case, sample.slice)
    yield split
    yield from identify_files(sample.files or (sample.path,))
    if isinstance(sample.masks, LazyMasks):
        yield sample.masks.path  # reading them is the workers' part
        yield from identify_files(sample.masks.files)
        return
    for mask in sample.masks:
        yield from (mask.label, mask.path, mask.instance)
        yield from identify_files(mask.files or (mask.path,))


@dataclass(frozen=True, slots=True)
class WriteRows:
    """Writes the rows of a unit as fragments that no reader sees before they are committed.

    Args:
        uri: of the table.
        schema: of the table.
        image_size: see :class:`~syncsam_lightning.data.conversion.rows.RowMaker`.
        storage_options: for an object store.
    """

    uri: str
    schema: pa.Schema
    image_size: int
    storage_options: Mapping[str, str] | None = None

    def __call__(self, unit: Unit) -> Outcome:
        """Write a unit; the result holds fragments and counts."""
        writer = _UnitWriter(self.image_size)
        batches = writer.batches(unit, self.schema)
        fragments: list[Fragment] = []
        # A writer that is given no batch at all would leave a file without rows.
        if (first := next(batches, None)) is not None:
            reader = pa.RecordBatchReader.from_batches(self.schema, chain([first], batches))
            try:
                fragments = write_fragments(
                    reader,
                    self.uri,
                    is_table=is_table(self.uri, self.storage_options),
                    rows_per_file=unit.size,
                    storage_options=self.storage_options,
                )
            except OSError as error:
                # Lance wraps what a generator raises; the cause is what a user can act on.
                raise (writer.failure or error) from None
        return Outcome(
            {
                "fragments": fragments,
                "splits": writer.splits,
                "images": writer.images,
                "masks": writer.masks,
            },
            writer.skipped,
            writer.listed,
        )


@dataclass(slots=True)
class _UnitWriter:
    image_size: int
    splits: Counter[str] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)
    masks: Counter[str] = field(default_factory=Counter)
    skipped: list[Skipped] = field(default_factory=list)
    listed: list[Skipped] = field(default_factory=list)
    failure: BaseException | None = None

    def batches(self, unit: Unit, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        try:
            rows: list[Row] = []
            size = 0
            for row in self._rows(unit):
                rows.append(row)
                size += len(row["image"]) + sum(map(len, row["masks"]))
                if len(rows) == _ROWS_PER_BATCH or size >= _BYTES_PER_BATCH:
                    yield record_batch(rows, schema)
                    rows, size = [], 0
            if rows:
                yield record_batch(rows, schema)
        except BaseException as error:
            self.failure = error
            raise

    def _skip(self, skip: Skipped) -> None:
        # The slices of a volume that can't be read have one reason, and it is one file.
        if skip not in self.skipped[-1:]:
            self.skipped.append(skip)

    def _rows(self, unit: Unit) -> Iterator[Row]:
        maker = RowMaker(self.image_size, self._skip)
        for item in unit.items():
            if isinstance(item, Skipped):
                self.listed.append(item)
                continue
            sample, split = item
            if (row := maker.row(sample, split)) is not None:
                self.splits[split] += 1
                self.images[sample.modality] += 1
                self.masks[sample.modality] += len(row["masks"])
                yield row
