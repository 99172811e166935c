"""Where a table comes to be, and how it appears there whole."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa

from syncsam_lightning.data import lance_files
from syncsam_lightning.data.conversion.files import sync_tree
from syncsam_lightning.data.lance_files import Fragment
from syncsam_lightning.data.location import store_of, with_patience
from syncsam_lightning.errors import TableError
from syncsam_lightning.whole_files import sync_folder

_WORK_OF_REMOTE_TABLES = "tables"


def skipped_path(table: Path) -> Path:
    """Return where the report of a table lies: ``NAME.skipped.jsonl`` beside ``NAME.lance``."""
    return table.with_name(f"{_bare(table)}.skipped.jsonl")


def _bare(table: Path) -> str:
    # Not the stem: what follows another dot belongs to the name.
    return table.name.removesuffix(".lance")


@dataclass(frozen=True)
class Target:
    """The place of a table, on disk or on an object store.

    On disk the table is made in the folder of unfinished work and then renamed. On an object store,
    where nothing can be renamed, it is made in its place and the one commit makes it appear; work
    that is not finished, the report and the lock stay in the local folder ``tables``. Work and lock
    of each address are its own: tables of one name may lie in many buckets.

    Args:
        table: folder or address (``s3://bucket/name.lance``) of the table.
        storage_options: for an object store, as Lance takes them.
    """

    table: str
    storage_options: Mapping[str, str] | None = None

    @property
    def is_remote(self) -> bool:
        """True for an object store."""
        return "://" in self.table

    @property
    def local(self) -> Path:
        """Where the table lies, or the local stand-in of a remote one."""
        if self.is_remote:
            return Path(_WORK_OF_REMOTE_TABLES, PurePosixPath(self.table).name)
        return Path(self.table)

    @property
    def address(self) -> dict[str, str]:
        """What tells the place from all others, empty for a folder.

        A folder may be moved with its unfinished work; an address says where the work went.
        """
        if not self.is_remote:
            return {}
        return {"table": self.table.rstrip("/"), **store_of(self.options() or {}, self.table)}

    def _beside(self, ending: str) -> Path:
        if not self.is_remote:
            return self.local.with_name(f"{_bare(self.local)}{ending}")
        digest = hashlib.blake2b(repr(sorted(self.address.items())).encode(), digest_size=4)
        return self.local.with_name(f"{_bare(self.local)}.{digest.hexdigest()}{ending}")

    @property
    def work(self) -> Path:
        """Folder of unfinished work, with a folder for each plan in it."""
        return self._beside(".lance.partial")

    @property
    def lock(self) -> Path:
        """The lock file."""
        return self._beside(".lock")

    @property
    def skipped_file(self) -> Path:
        """The list of what was left out."""
        return skipped_path(self.local)

    def uri(self, work: Path) -> str:
        """Return where fragments are written to.

        Args:
            work: folder of the unfinished work with one plan.
        """
        return self.table if self.is_remote else str(work / "table")

    def data_files(self, work: Path) -> set[str]:
        """Return the names of the data files that lie where fragments are written to.

        Args:
            work: see :meth:`uri`.

        Raises:
            TableError: the storage can't be reached.
        """
        uri = self.uri(work)
        try:
            return lance_files.files_at(uri, self.options())
        except lance_files.FAILURES as error:
            raise TableError(f"the files of {uri} cannot be listed: {error}") from error

    def options(self) -> dict[str, str] | None:
        """Return the storage options as Lance wants them; None for a folder."""
        return with_patience(self.storage_options or {}, self.table) if self.is_remote else None

    def exists(self) -> bool:
        """Tell whether the whole table is there."""
        return is_table(self.table, self.options()) if self.is_remote else self.local.exists()

    def commit(self, work: Path, schema: pa.Schema, fragments: Sequence[Fragment]) -> None:
        """Make one version of the fragments, and remove files that belong to none."""
        lance_files.commit(self.uri(work), schema, fragments, self.options())

    def publish(self, work: Path) -> None:
        """Let the committed table appear under its name."""
        if not self.is_remote:
            folder = Path(self.uri(work))
            sync_tree(folder)
            folder.replace(self.local)
            sync_folder(self.local.parent)

    def tidy(self) -> None:
        """Remove what conversions left of a table that is whole."""
        if self.is_remote and self.work.exists():
            lance_files.remove_orphans(self.table, self.options())
        shutil.rmtree(self.work, ignore_errors=True)


def is_table(uri: str, storage_options: Mapping[str, str] | None) -> bool:
    """Tell whether a committed table lies at an address.

    Raises:
        TableError: the storage cannot be reached.
    """
    try:
        lance_files.LanceTable(uri, storage_options)
    except FileNotFoundError:
        return False
    except lance_files.FAILURES as error:
        # Taking a refused connection for a missing table would lead to hours of work and in the end
        # to the replacement of a table that is there.
        raise TableError(f"{uri} cannot be looked up: {error}") from error
    return True
