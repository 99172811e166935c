"""Converting a raw release into a table, once, in several processes, whatever interrupts it."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

from syncsam_lightning.data.conversion.disk import told_when_full
from syncsam_lightning.data.conversion.report import ConversionReport
from syncsam_lightning.data.conversion.row_units import (
    WriteRows,
    assign,
    identify,
)
from syncsam_lightning.data.conversion.slice import in_slice
from syncsam_lightning.data.conversion.source_state import SOURCE, SourceState
from syncsam_lightning.data.conversion.target import Target
from syncsam_lightning.data.conversion.units import cut_units
from syncsam_lightning.data.conversion.workbench import Workbench, WorkOptions
from syncsam_lightning.data.filter import RowFilter
from syncsam_lightning.data.keys import SeenKeys
from syncsam_lightning.data.lance_files import Fragment, files_of
from syncsam_lightning.data.schema import FORMAT_VERSION, table_schema
from syncsam_lightning.data.splits import SplitRule, Splitter
from syncsam_lightning.errors import LOST, ConversionError
from syncsam_lightning.locks import only_one
from syncsam_lightning.records import RawSample, Skipped, Split
from syncsam_lightning.seeding import stable_key
from syncsam_lightning.whole_files import whole_file

log = logging.getLogger(__name__)

Records: TypeAlias = Callable[[], Iterable[RawSample | Skipped]]
"""Yields the samples of a release, the same ones whenever it is called."""

ROWS = "rows"


@dataclass(frozen=True, slots=True)
class TablePlan:
    """What table to make.

    Args:
        image_size: long side of stored training rows in pixels; rows for validation and test keep
            their original size. All are lossless.
        settings: kept with the table, to tell whether it fits a later request.
        code: digest of the code that makes the rows, see :func:`code_digest`; work that other code
            began is not gone on with. ``""`` where that is the caller's affair.
        source: state of the release, kept with the table, see :class:`SourceState`; None: unknown.
        chosen: which images and masks of the release the table is made of; None: all.
        begins_anew: whether unfinished work is only gone on with while the release is in the same
            state. Of files on this machine it is told one by one whether they were mended.
    """

    image_size: int
    settings: Mapping[str, Any]
    code: str = ""
    source: SourceState | None = None
    chosen: RowFilter | None = None
    begins_anew: bool = False

    def made_of(self) -> dict[str, Any]:
        """Return all that the unfinished work depends on."""
        whole = {"format": FORMAT_VERSION, "image_size": self.image_size, "code": self.code}
        if self.begins_anew and self.source is not None:
            whole[SOURCE] = self.source.digest
        return whole | dict(self.settings)

    def text(self) -> str:
        """Return the settings, and the state of the release, as JSON."""
        kept = dict(self.settings)
        if self.source is not None:
            kept[SOURCE] = self.source.settings()
        return json.dumps(kept, sort_keys=True)


def is_prepared(target: Target) -> bool:
    """Tell whether a table is there, and remove what an interrupted conversion left beside it."""
    if not target.exists():
        return False
    if target.work.exists():
        # Who may read the table need not be allowed to write beside it.
        with suppress(OSError), only_one(target.lock, _busy(target)):
            target.tidy()
    return True


def prepare_table(
    target: Target,
    plan: TablePlan,
    open_records: Callable[[Workbench], Records],
    split_rule: SplitRule,
    options: WorkOptions,
) -> ConversionReport | None:
    """Make a table from a release, unless it is there.

    If another process is making it, wait and use that one.

    Args:
        target: where.
        plan: what.
        open_records: does what has to come before samples can be read, and returns what reads them.
        split_rule: how to divide what the release doesn't.
        options: how to work.

    Returns:
        the report, None if the table was there.

    Raises:
        ConversionError: nothing could be used, or a worker died.
    """
    target.local.parent.mkdir(parents=True, exist_ok=True)
    with only_one(target.lock, _busy(target)):
        if target.exists():
            return None
        with _workbench(target, plan, options) as bench:
            records = open_records(bench)
            splitter = Splitter(records(), split_rule)
            samples: Iterable[RawSample | Skipped] = records()
            total: int | None = splitter.num_samples
            if bench.chosen.given():
                samples, total = in_slice(samples, bench.chosen), None
            report = _build(bench, target, plan, samples, splitter, total)
            report.notes += splitter.notes()
            return report


def convert(
    samples: Iterable[RawSample | Skipped],
    table: str | os.PathLike[str],
    *,
    image_size: int,
    split_of: Callable[[RawSample], Split],
    settings: Mapping[str, Any],
    options: WorkOptions | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> ConversionReport:
    """Write a table from samples.

    The table appears under its name when it is whole. A conversion that was interrupted leaves the
    units that it finished in a ``.partial`` folder, and the next one goes on from there: its table
    equals, row for row, the one that an undisturbed conversion makes, with any number of workers,
    as long as the samples are made by the same code.

    Args:
        samples: of a plugin's ``records``.
        table: folder or address to create, ending in ``.lance``.
        image_size: see :class:`TablePlan`.
        split_of: the split of each sample.
        settings: see :class:`TablePlan`.
        options: how to work.
        storage_options: for an object store, as Lance takes them.

    Raises:
        ConversionError: nothing could be used, or a worker died.
        FileExistsError: the table is there already.
    """
    target = Target(os.fspath(table), storage_options)
    plan = TablePlan(image_size, settings)
    target.local.parent.mkdir(parents=True, exist_ok=True)
    with only_one(target.lock, _busy(target)):
        if target.exists():
            raise FileExistsError(f"{target.table} is there already")
        with _workbench(target, plan, options or WorkOptions()) as bench:
            return _build(bench, target, plan, samples, split_of, None)


def _busy(target: Target) -> str:
    return f"{target.table} is being prepared by another process"


@contextmanager
def _workbench(target: Target, plan: TablePlan, options: WorkOptions) -> Iterator[Workbench]:
    bench = Workbench(target.work, plan.made_of() | target.address, options, plan.chosen)
    try:
        with told_when_full(bench.folder):
            yield bench
    except BaseException:
        if not bench.holds_work():
            shutil.rmtree(bench.folder, ignore_errors=True)
            with suppress(OSError):
                target.work.rmdir()
        raise
    shutil.rmtree(target.work)


def _build(
    bench: Workbench,
    target: Target,
    plan: TablePlan,
    samples: Iterable[RawSample | Skipped],
    split_of: Callable[[RawSample], Split],
    total: int | None,
) -> ConversionReport:
    schema = table_schema(plan.text().encode())
    _forget_lost_rows(bench, target)
    bench.run(
        ROWS,
        cut_units(assign(samples, split_of), identify, bench.unit_size(total)),
        WriteRows(target.uri(bench.folder), schema, plan.image_size, target.options()),
        total=total,
        workers=None if total is None else -(-total // bench.unit_size(total)),
    )
    report = ConversionReport(target.table, target.skipped_file)
    fragments: list[Fragment] = []
    for state in bench.states(ROWS):
        report.add_unit(state.result)
        fragments += state.result["fragments"]
    _list_skipped(bench, report)
    if not fragments:
        # Nothing of it is worth going on from: the next try shall look at every file again.
        shutil.rmtree(bench.folder)
        raise ConversionError(report.nothing_usable())
    bench.options.at("before commit")
    files = files_of(fragments)
    if lost := files - target.data_files(bench.folder):
        raise ConversionError(
            f"{len(lost)} of the {len(files)} files that were written for {target.table} are no "
            f"longer in {target.uri(bench.folder)}/data, {min(lost)} for example. Does anything "
            "else clean up there? The same command makes their rows again"
        )
    target.commit(bench.folder, schema, fragments)
    bench.options.at("committed")
    target.publish(bench.folder)
    bench.options.at("published")
    return report


def _forget_lost_rows(bench: Workbench, target: Target) -> None:
    """Let units whose rows are gone be done again.

    They are after a kill between the table's appearance and the removal of the work folder, if then
    the table was deleted; and when somebody cleans up what belongs to no table.
    """
    there = target.data_files(bench.folder)
    lost = bench.forget(ROWS, lambda state: not files_of(state.result["fragments"]) <= there)
    if lost:
        log.warning(
            "the rows of %d finished units are no longer in %s; they are made again",
            lost, target.uri(bench.folder),
        )  # fmt: skip


def _list_skipped(bench: Workbench, report: ConversionReport) -> None:
    seen = SeenKeys()
    with whole_file(report.skipped_file) as file:
        for skip in bench.skipped():
            # A file of many rows is met by the survey and by each unit of rows: it is one file.
            if skip.kind in LOST and not seen.add(stable_key(skip.path, skip.reason)):
                continue
            report.add_skipped(skip)
            line = {
                "path": skip.path,
                "reason": skip.reason,
                "kind": skip.kind,
                "source": skip.source,
            }
            file.write(json.dumps(line).encode() + b"\n")
