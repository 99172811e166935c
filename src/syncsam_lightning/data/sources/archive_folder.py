"""A folder of archives, one for each data set perhaps, read as one release."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import BinaryIO

from syncsam_lightning.data.sources.source import Entry, Source
from syncsam_lightning.data.sources.storage import Found
from syncsam_lightning.data.sources.tree import Tree
from syncsam_lightning.data.sources.zip_source import ZipSource
from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.records import Skipped


@dataclass(frozen=True)
class ArchiveFolder:
    """Archives, and what else lies beside them.

    Names stay as they are in the archives. What is stored twice is used once: a file that a former
    archive has, and an unpacked folder of which an archive has one of the same name, are listed.

    Args:
        tree: the folder.
        archives: by the numbers that their entries carry.
        loose: items of the folder that belong to no archive.
        broken: archives that cannot be opened.
    """

    tree: Tree
    archives: tuple[ZipSource, ...]
    loose: tuple[Found, ...] = ()
    broken: tuple[Skipped, ...] = ()

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.tree.name

    def where(self, name: str) -> str:
        """Return the path that a file has when unpacked here."""
        return self.tree.where(name)

    def parts(self, marker: str) -> Sequence[Source]:
        """Return the archives, the unpacked folders, and what is left of the folder."""
        folders = [item for item in self.loose if item.is_folder]
        left = tuple(item for item in self.loose if not item.is_folder)
        return [
            ArchiveFolder(self.tree, (), left, self.broken),
            *(replace(archive, number=0) for archive in self.archives),
            *(Tree(self.tree.storage, item.name) for item in folders),
        ]

    def entries(self) -> Iterator[Entry | Skipped]:
        """Yield the files of one archive after the other, then the unpacked ones."""
        yield from self.broken
        taken = _Taken(self.archives)
        for archive in self.archives:
            try:
                for entry in archive.entries():
                    yield taken.check(entry) if isinstance(entry, Entry) else entry
            except BrokenInputError as error:
                # The others are whole: one damaged archive must not cost them.
                yield Skipped(error.path, error.reason, error.kind)
        for item in self.loose:
            yield from self._loose(item, taken)

    def _loose(self, item: Found, taken: _Taken) -> Iterator[Entry | Skipped]:
        if item.trouble:
            yield Skipped(item.name, item.trouble, kind="unsafe name")
        elif (number := taken.tops.get(item.name)) is not None:
            other = self.archives[number].path
            yield Skipped(item.name, f"{other} has it too and is read", kind="stored twice")
        elif item.is_folder:
            yield from self.tree.below(item.name)
        else:
            yield Entry(item.name, item.size)

    def read(self, entry: Entry) -> bytes:
        """Return the bytes of a file."""
        return self._holder(entry).read(entry)

    def open(self, entry: Entry) -> BinaryIO:
        """Return a file to read once."""
        return self._holder(entry).open(entry)

    def _holder(self, entry: Entry) -> Source:
        if entry.position is None:
            return self.tree
        if not 0 <= entry.position.archive < len(self.archives):
            raise BrokenInputError(entry.name, "it is no entry of these archives")
        return self.archives[entry.position.archive]


@dataclass(slots=True)
class _Taken:
    """Tells names that two archives have.

    Archives rarely share a folder, so only folders are remembered until one comes twice; then the
    names of the archive that had it first are read again and kept.
    """

    archives: Sequence[ZipSource]
    tops: dict[str, int] = field(default_factory=dict)
    _owners: dict[str, int] = field(default_factory=dict)
    _names: dict[str, int] = field(default_factory=dict)
    _known: set[int] = field(default_factory=set)

    def check(self, entry: Entry) -> Entry | Skipped:
        assert entry.position is not None
        mine = entry.position.archive
        folder = entry.name.rpartition("/")[0]
        owner = self._owners.get(folder)
        if owner is None:
            self._owners[folder] = mine
            self.tops.setdefault(PurePosixPath(entry.name).parts[0], mine)
            return entry
        if not folder:
            self.tops.setdefault(entry.name, mine)
        if owner == mine:
            return entry
        if owner not in self._known:
            self._remember(owner)
        first = self._names.setdefault(entry.name, mine)
        if first == mine:
            return entry
        one, other = (self.archives[number].path for number in (first, mine))
        return Skipped(
            entry.name, f"both {one} and {other} have it; the first is used", kind="stored twice"
        )

    def _remember(self, number: int) -> None:
        self._known.add(number)
        try:
            for entry in self.archives[number].entries():
                if isinstance(entry, Entry):
                    self._names.setdefault(entry.name, number)
        except BrokenInputError:
            # It was yielded as far as it goes, and named, when its turn was.
            return
