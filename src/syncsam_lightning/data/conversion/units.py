"""Cutting a stream of items into units of work that can be told apart and sent to a process."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from syncsam_lightning.errors import ConversionError

MAX_BYTES = 32 << 20
"""A unit is closed when its items take this much, however few they are: samples may hold pixels."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Consecutive items of a stage.

    Args:
        number: position among the units of the stage.
        digest: of what identifies the items; tells whether a finished unit is still the same.
        size: number of items.
        payload: the items, one pickle after another. Made and read by our own processes only.
    """

    number: int
    digest: str
    size: int
    payload: bytes

    def items(self) -> Iterator[Any]:
        """Yield the items, one at a time."""
        unpickler = pickle.Unpickler(io.BytesIO(self.payload))
        for _ in range(self.size):
            yield unpickler.load()


def identify_files(files: Iterable[str]) -> Iterator[object]:
    """Yield paths, and bytes and time of writing of those that are files of this machine.

    An item that is recognised by them is not taken for the one of before its files were mended.
    """
    for path in files:
        yield path
        with suppress(OSError, ValueError):
            status = os.stat(path)  # noqa: PTH116 - millions of them
            yield from (status.st_size, status.st_mtime_ns)


def cut_units(
    items: Iterable[Any],
    identify: Callable[[Any], Iterable[object]],
    size: int,
    *,
    max_bytes: int = MAX_BYTES,
) -> Iterator[Unit]:
    """Cut a stream into units.

    Args:
        items: picklable.
        identify: the names by which an item is recognised when the work is taken up again.
        size: items in a unit.
        max_bytes: a unit that takes more is closed early.

    Raises:
        ConversionError: an item cannot be sent to another process.
    """
    number = 0
    draft = _Draft(identify)
    for item in items:
        draft.add(item)
        if draft.size == size or draft.num_bytes >= max_bytes:
            yield draft.close(number)
            number, draft = number + 1, _Draft(identify)
    if draft.size:
        yield draft.close(number)


class _Draft:
    """A unit in the making.

    One pickler for all items: what they share (the archive they lie in) is stored once.
    """

    def __init__(self, identify: Callable[[Any], Iterable[object]]) -> None:
        self._identify = identify
        self._digest = hashlib.blake2b(digest_size=16)
        self._buffer = io.BytesIO()
        self._pickler = pickle.Pickler(self._buffer, protocol=pickle.HIGHEST_PROTOCOL)
        self.size = 0

    @property
    def num_bytes(self) -> int:
        return self._buffer.tell()

    def add(self, item: Any) -> None:
        names = tuple(self._identify(item))
        try:
            self._pickler.dump(item)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ConversionError(
                f"{names[0] if names else item} cannot be sent to a worker process ({error}): give "
                "pixels, a path, or a function that can be pickled, such as functools.partial of "
                "one at the top of a module"
            ) from error
        self._digest.update(repr(names).encode("utf-8", "surrogatepass"))
        self.size += 1

    def close(self, number: int) -> Unit:
        return Unit(number, self._digest.hexdigest(), self.size, self._buffer.getvalue())
