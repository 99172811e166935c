"""Finding the data sets of a release, in archives and folders alike."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeGuard

from syncsam_lightning.data.sources import Entry, EntryIndex, Source
from syncsam_lightning.errors import BrokenInputError, DatasetNotFoundError
from syncsam_lightning.records import Skipped

from .index import INDEX, DataSet


@dataclass(slots=True)
class Part:
    """An archive or a folder that is looked through by itself.

    Args:
        source: the archive or folder.
        data_sets: in it.
        skipped: what :meth:`files` came upon that cannot be used.
    """

    source: Source
    data_sets: list[DataSet]
    skipped: list[Skipped] = field(default_factory=list)

    def files(self) -> Iterator[Entry]:
        """Yield the files of the part, and note what cannot be used."""
        for entry in self.source.entries():
            if isinstance(entry, Entry):
                yield entry
            else:
                self.skipped.append(entry)

    def leftovers(self, files: EntryIndex) -> Iterator[Skipped]:
        """Yield the images that no entry named, and files that have the name of another.

        Args:
            files: of the part, after everything that is listed was looked for in it.
        """
        image_folders = {f"{data_set.folder}image": data_set.name for data_set in self.data_sets}
        for entry in self.source.entries():
            if isinstance(entry, Skipped):
                continue
            name = image_folders.get(entry.name.rpartition("/")[0], "")
            path = self.source.where(entry.name)
            if not files.is_first(entry):
                yield Skipped(path, "it is stored twice; the first is used", "stored twice", name)
            elif name and not files.was_asked_for(entry.name):
                yield Skipped(path, f"no entry of {INDEX} names it", "not in the index", name)


def find_data_sets(source: Source, root: str | os.PathLike[str]) -> Iterator[Part | Skipped]:
    """Find every data set and check what it says before the first part is yielded.

    An archive whose directory is damaged is yielded as skipped, if it is not the only one.

    Args:
        source: the release.
        root: its address, for the message.

    Raises:
        DatasetNotFoundError: there is none.
        BrokenInputError: a ``dataset.json`` cannot be read, or the only archive.
    """
    parts = source.parts(INDEX)
    found: list[Part | Skipped] = []
    names: dict[str, DataSet] = {}
    for part in parts:
        try:
            entries = [entry for entry in part.entries() if _is_index(entry)]
        except BrokenInputError as error:
            if len(parts) == 1:
                raise
            found.append(Skipped(error.path, error.reason, error.kind))
            continue
        data_sets = []
        for data_set in (DataSet.read(part, entry) for entry in entries):
            first = names.setdefault(data_set.name, data_set)
            if first is data_set:
                data_sets.append(data_set)
            else:
                reason = f"{first.where(INDEX)} is a data set of the same name and is used"
                found.append(Skipped(data_set.where(INDEX), reason, "stored twice", data_set.name))
        found.append(Part(part, data_sets))
    if not names:
        raise DatasetNotFoundError(
            f"no IMed-361M in {os.fspath(root)}: neither it nor a folder in it holds {INDEX}. Put "
            "the data sets' archives into it, or unpack them into it, one folder each"
        )
    yield from found


def _is_index(entry: Entry | Skipped) -> TypeGuard[Entry]:
    return isinstance(entry, Entry) and entry.name.rpartition("/")[2] == INDEX
