"""Finding the data sets of a release, in archives and folders alike."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from syncsam_lightning.data.filter import FilterError, RowFilter
from syncsam_lightning.data.sources import Entry, EntryIndex, Source
from syncsam_lightning.errors import BrokenInputError, DatasetNotFoundError
from syncsam_lightning.records import Skipped
from syncsam_lightning.seeding import stable_key

from .index import INDEX, DataSet
from .pseudo import LABEL as PSEUDO


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
            entries = [
                entry
                for entry in part.entries()
                if isinstance(entry, Entry) and is_index(entry.name)
            ]
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


def is_index(name: str) -> bool:
    """Whether a file of a release is the ``dataset.json`` of a data set."""
    return name.rpartition("/")[2] == INDEX


def wanted_keys(
    source: Source, root: str | os.PathLike[str], chosen: RowFilter, *, pseudo_masks: bool
) -> np.ndarray:
    """Return what tells the files that a filter asks for from others.

    Which classes are on an image its label tells alone: where classes are asked for, it is the data
    sets that have them.

    Args:
        source: the release.
        root: its address, for messages.
        chosen: the filter.
        pseudo_masks: whether pseudo-instances belong to them.

    Returns:
        int64, ascending keys of names.

    Raises:
        DatasetNotFoundError, BrokenInputError: see :func:`find_data_sets`.
        FilterError: no data set is asked for.
    """
    keys = array("q")
    there: list[str] = []
    for item in find_data_sets(source, root):
        for data_set in item.data_sets if isinstance(item, Part) else ():
            there.append(f"{data_set.name} ({data_set.modality})")
            if _is_asked_for(data_set, chosen, pseudo_masks):
                for name in _listed_names(data_set, pseudo_masks):
                    keys.append(stable_key(name))
    if not keys:
        raise FilterError(
            f"data.filter ({chosen}) leaves no image of {os.fspath(root)}; its data sets are "
            f"{', '.join(sorted(there))}"
        )
    return np.unique(np.frombuffer(keys, np.int64))


def _is_asked_for(data_set: DataSet, chosen: RowFilter, pseudo_masks: bool) -> bool:
    if not chosen.keeps_group(data_set.modality, data_set.name):
        return False
    labels = [*data_set.labels.values(), *([PSEUDO] if pseudo_masks else [])]
    return any(map(chosen.keeps_label, labels))


def _listed_names(data_set: DataSet, pseudo_masks: bool) -> Iterator[str]:
    for split, listed in data_set.listed():
        kinds = ["image", "label"] + (["imask"] if pseudo_masks and split == "train" else [])
        for kind in kinds:
            value = listed.get(kind) if isinstance(listed, dict) else None
            if isinstance(value, str):
                yield data_set.folder + value
