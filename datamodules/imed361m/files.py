"""The files of one image: finding those that an entry names, and reading them in a worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from syncsam_lightning.data.readers import resolve_mask
from syncsam_lightning.data.source_files import Unusable, read_file
from syncsam_lightning.data.sources import Entry, EntryIndex, Source
from syncsam_lightning.errors import NAMED_BUT_MISSING, BrokenInputError
from syncsam_lightning.records import NamedMask, Skipped

from .index import INDEX, DataSet
from .labels import SparseLabels
from .pseudo import pseudo_instances
from .rules import ChannelNames, Turned

_SUFFIXES = {"image": ".png", "label": ".npz", "imask": ".npy"}


def find_listed(data_set: DataSet, files: EntryIndex, listed: Any, kind: str) -> Entry | Skipped:
    """Return the file that an entry of ``dataset.json`` names, or why it cannot be used.

    Args:
        data_set: whose entry it is.
        files: of the source that the data set lies in.
        listed: the entry, of any form.
        kind: ``image``, ``label`` or ``imask``.
    """
    value = listed.get(kind) if isinstance(listed, dict) else None
    if not isinstance(value, str):
        reason = f"the entry {listed!r} names no {kind}"
        return Skipped(data_set.where(INDEX), reason, "malformed entry", data_set.name)
    path = PurePosixPath(value)
    suffix = _SUFFIXES[kind]
    if path.parts != (kind, path.name) or path.suffix != suffix or "\\" in value or "\0" in value:
        reason = f"{data_set.where(INDEX)} names it, but it is not {kind}/NAME{suffix}"
        return Skipped(value, reason, "malformed entry", data_set.name)
    name = f"{kind}/{path.name}"
    found = files.find(data_set.folder + name)
    if found is None:
        reason = f"{INDEX} names it, but there is no such file"
        return Skipped(data_set.where(name), reason, NAMED_BUT_MISSING, data_set.name)
    return found


@dataclass(frozen=True, slots=True)
class MaskFiles:
    """Reads the masks of one image when called.

    Args:
        source: that the files lie in.
        names: class names by channel.
        quarter_turns: by which masks are turned, counter-clockwise.
        label: the classes; None if there are none.
        imask: the pseudo-instances; None if there are none.
    """

    source: Source
    names: ChannelNames
    quarter_turns: int
    label: Entry | None
    imask: Entry | None

    @property
    def files(self) -> list[str]:
        """Addresses of the files."""
        return [self.source.where(entry.name) for entry in (self.label, self.imask) if entry]

    def __call__(self) -> list[NamedMask]:
        """Return the masks; a file that can't be read is a mask that says so when it is called."""
        readers: tuple[tuple[Entry | None, Callable[[bytes, str], list[NamedMask]]], ...] = (
            (self.label, self._classes),
            (self.imask, pseudo_instances),
        )
        masks: list[NamedMask] = []
        for entry, read in readers:
            if entry is None:
                continue
            path = self.source.where(entry.name)
            try:
                masks += read(read_file(self.source, entry), path)
            except BrokenInputError as error:
                masks.append(NamedMask("", Unusable(error), path))
        if not self.quarter_turns:
            return masks
        return [replace(mask, mask=self._turned(mask)) for mask in masks]

    def _classes(self, data: bytes, path: str) -> list[NamedMask]:
        return SparseLabels.load(data, path).masks(self.names, path)

    def _turned(self, mask: NamedMask) -> Turned:
        return Turned(_Mask(mask), self.quarter_turns)


@dataclass(frozen=True, slots=True)
class _Mask:
    named: NamedMask

    def __call__(self) -> np.ndarray:
        return resolve_mask(self.named.mask, self.named.path)
