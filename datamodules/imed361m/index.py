"""``dataset.json``: what a data set says about itself and which images it lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import ijson

from syncsam_lightning.data.sources import Entry, Source
from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.records import Split

INDEX = "dataset.json"

_PARTS: tuple[tuple[str, Split], ...] = (("training", "train"), ("test", "test"))
_NAMED = ("modality", "labels")
_BEGINS, _ENDS = ("start_map", "start_array"), ("end_map", "end_array")
_DEEPEST = 8
# Of a number that no decimal holds, the parser raises what `decimal` does.
_UNREADABLE = (ijson.JSONError, UnicodeDecodeError, ArithmeticError)


@dataclass(frozen=True, slots=True)
class DataSet:
    """One data set of the release.

    Args:
        name: of the data set.
        source: that it lies in.
        entry: its ``dataset.json``.
        folder: of the data set in the source, ``""`` or ending with ``/``.
        modality: of its images.
        labels: class names by number, as text.
    """

    name: str
    source: Source
    entry: Entry
    folder: str
    modality: str
    labels: Mapping[str, str]

    @classmethod
    def read(cls, source: Source, entry: Entry) -> DataSet:
        """Read what a ``dataset.json`` says, and check all of it, without keeping its lists.

        Raises:
            BrokenInputError: it cannot be read or is of another form.
        """
        path = source.where(entry.name)
        named: dict[str, dict[str, str]] = {}
        try:
            with source.open(entry) as file:
                for prefix, event, value in ijson.parse(_shallow(file)):
                    _check(prefix, event, value, named, path)
        except _UNREADABLE as error:
            raise _unreadable(path, error) from error
        except BrokenInputError as error:
            raise BrokenInputError(path, error.reason, error.kind) from error
        for key in _NAMED:
            if key not in named:
                raise BrokenInputError(path, f"{key!r} is not of the form {{number: name}}")
        if not named["modality"]:
            raise BrokenInputError(path, "'modality' names none")
        folder = entry.name.removesuffix(INDEX)
        name = folder.rstrip("/").rpartition("/")[2] or source.name
        modality = next(iter(named["modality"].values()))
        return cls(name, source, entry, folder, modality, named["labels"])

    def where(self, name: str) -> str:
        """Return the address of a file of the data set."""
        return self.source.where(self.folder + name)

    def listed(self) -> Iterator[tuple[Split, Any]]:
        """Yield the entries of its lists as they are, one at a time, with their split.

        Raises:
            BrokenInputError: it cannot be read any more.
        """
        for part, split in _PARTS:
            try:
                with self.source.open(self.entry) as file:
                    for item in ijson.items(ijson.parse(_shallow(file)), f"{part}.item"):
                        yield split, item
            except _UNREADABLE as error:
                raise _unreadable(self.source.where(self.entry.name), error) from error


def _shallow(file: BinaryIO) -> Iterator[tuple[str, Any]]:
    """Yield the parser's events; without a limit to nesting, the time is quadratic in it."""
    depth = 0
    for event, value in ijson.basic_parse(file):
        depth += (event in _BEGINS) - (event in _ENDS)
        if depth > _DEEPEST:
            raise ijson.JSONError(f"it is nested more than {_DEEPEST} levels deep")
        yield event, value


def _unreadable(path: str, error: Exception) -> BrokenInputError:
    return BrokenInputError(path, f"not readable as JSON ({error})")


def _check(
    prefix: str, event: str, value: object, named: dict[str, dict[str, str]], path: str
) -> None:
    """Look at one event of the parser: note names, refuse what is of another form."""
    head, _, key = prefix.partition(".")
    if not prefix and event not in ("start_map", "map_key", "end_map"):
        raise BrokenInputError(path, "expected an object with modality and labels")
    if head in _NAMED:
        if event == "start_map" and not key:
            named[head] = {}
        elif event == "string" and key and head in named and isinstance(value, str):
            named[head][key] = value
        elif event not in ("map_key", "end_map"):
            raise BrokenInputError(path, f"{head!r} is not of the form {{number: name}}")
    if prefix in dict(_PARTS) and event not in ("start_array", "end_array"):
        raise BrokenInputError(path, f"{prefix!r} is not a list of images")
