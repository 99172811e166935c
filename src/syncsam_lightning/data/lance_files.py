"""All that is asked of Lance, the library that keeps tables: reading one, and making one.

The library moves a major version each month. What its calls are named, what they raise and how its
fragments and folders look is known here and nowhere else. Addresses are a folder or a URI of an
object store, options are those of the store, see :mod:`syncsam_lightning.data.location`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import lance
import pyarrow as pa
from lance.file import LanceFileSession
from lance.fragment import write_fragments as _write_fragments

FAILURES = (OSError, ValueError, RuntimeError, KeyError, pa.ArrowException)
"""What every call of this module may raise: of damaged bytes, and of storage that fails."""

Fragment: TypeAlias = dict[str, Any]
"""Some rows of a table as JSON has them: where their files lie."""


def reason(error: BaseException) -> str:
    """Return what one of :data:`FAILURES` says, but for the place in the library's own source."""
    return str(error).partition(", /")[0].strip()


@contextmanager
def _without_panic() -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        # The library panics on some damaged bytes, which to Python is no Exception.
        if type(error).__name__ == "PanicException":
            raise RuntimeError(str(error)) from error
        raise


class LanceTable:
    """A table, opened to be read in its latest version.

    The library's threads don't survive a fork: a process that was forked after a table was opened
    must not read it. Not picklable.

    Args:
        uri: of the table.
        storage_options: for an object store.

    Raises:
        FileNotFoundError: there is no table; of a folder: it may be there and be none.
    """

    def __init__(self, uri: str, storage_options: Mapping[str, str] | None = None) -> None:
        with _without_panic():
            self._dataset = _opened(uri, storage_options)
            self.schema: pa.Schema = self._dataset.schema

    @property
    def version(self) -> int:
        """Number of the version."""
        with _without_panic():
            return int(self._dataset.version)

    @property
    def written(self) -> datetime:
        """When the latest version was written, in local time."""
        with _without_panic():
            written: datetime = self._dataset.versions()[-1]["timestamp"]
        return written

    def count(self) -> int:
        """Return the number of rows."""
        with _without_panic():
            return int(self._dataset.count_rows())

    def take(self, positions: Sequence[int], columns: Sequence[str]) -> pa.Table:
        """Return rows by position, in one request, in the order asked for."""
        with _without_panic():
            taken: pa.Table = self._dataset.take(list(positions), columns=list(columns))
        return taken

    def scan(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield some columns of all rows in the order of their positions, batch by batch."""
        with _without_panic():
            yield from self._dataset.scanner(columns=list(columns), scan_in_order=True).to_batches()


def _opened(uri: str, storage_options: Mapping[str, str] | None) -> Any:
    try:
        return lance.dataset(uri, storage_options=_as_dict(storage_options))
    except (ValueError, OSError) as error:
        # The library has one type for this and for a connection that is refused.
        if any(text in str(error) for text in ("was not found", "Not a directory")):
            raise FileNotFoundError(str(error)) from error
        raise


def _as_dict(storage_options: Mapping[str, str] | None) -> dict[str, str] | None:
    return None if storage_options is None else dict(storage_options)  # it takes no other mapping


def write_table(batches: pa.RecordBatchReader, folder: Path) -> None:
    """Write a table at once.

    Args:
        batches: its rows.
        folder: to create.
    """
    with _without_panic():
        lance.write_dataset(batches, str(folder), schema=batches.schema, mode="create")


def write_fragments(
    batches: pa.RecordBatchReader,
    uri: str,
    *,
    is_table: bool,
    rows_per_file: int,
    storage_options: Mapping[str, str] | None = None,
) -> list[Fragment]:
    """Write rows that no reader sees before they are committed.

    Args:
        batches: the rows; what making them raises comes out wrapped into an ``OSError``.
        uri: of the table.
        is_table: whether it has a version already.
        rows_per_file: at most.
        storage_options: for an object store.

    Returns:
        what :func:`commit` makes a version of.
    """
    with _without_panic():
        fragments = _write_fragments(
            batches,
            uri,
            schema=batches.schema,
            mode="append" if is_table else "create",
            max_rows_per_file=rows_per_file,
            storage_options=_as_dict(storage_options),
        )
        return [fragment.to_json() for fragment in fragments]


def files_of(fragments: Iterable[Fragment]) -> set[str]:
    """Return the names of the files in which some fragments are."""
    return {file["path"] for fragment in fragments for file in fragment["files"]}


def files_at(uri: str, storage_options: Mapping[str, str] | None = None) -> set[str]:
    """Return the names of all files with rows that lie at a place, in a table or not yet."""
    folder = f"{uri}/data"
    if "://" not in uri:
        return {path.name for path in Path(folder).glob("*")}
    with _without_panic():
        return set(LanceFileSession(folder, _as_dict(storage_options)).list())


def commit(
    uri: str,
    schema: pa.Schema,
    fragments: Iterable[Fragment],
    storage_options: Mapping[str, str] | None = None,
) -> None:
    """Make one version of fragments, the whole table, and remove files that belong to none.

    Args:
        uri: of the table, to which the fragments were written.
        schema: of the table.
        fragments: in the order of rows.
        storage_options: for an object store.
    """
    with _without_panic():
        loaded = [lance.FragmentMetadata.from_json(json.dumps(one)) for one in fragments]
        dataset = lance.LanceDataset.commit(
            uri,
            lance.LanceOperation.Overwrite(schema, loaded),
            storage_options=_as_dict(storage_options),
        )
        _remove_orphans(dataset)


def remove_orphans(uri: str, storage_options: Mapping[str, str] | None = None) -> None:
    """Remove the files at a table's place that belong to no version, or to an earlier one."""
    with _without_panic():
        _remove_orphans(_opened(uri, storage_options))


def _remove_orphans(dataset: Any) -> None:
    # Only of a committed table: before, every fragment of ours is an unverified file.
    dataset.cleanup_old_versions(older_than=timedelta(0), delete_unverified=True)
