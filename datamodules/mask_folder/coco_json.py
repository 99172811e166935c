"""What a COCO file holds, item by item: its lists are never there as Python objects."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from syncsam_lightning.errors import BrokenInputError, DatasetNotFoundError

_LISTS = ("images", "annotations", "categories")
_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def coco_items(path: Path) -> Iterator[tuple[str, int, Any]]:
    """Yield the items of the lists of a COCO file, in the order of the file.

    The text is in memory meanwhile, and one item.

    Args:
        path: of the file.

    Yields:
        name of the list, position in it, item.

    Raises:
        BrokenInputError: the file can't be read, or is no JSON.
        DatasetNotFoundError: it is JSON, but not of COCO.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BrokenInputError(str(path), f"not readable as JSON ({error})") from error
    except OSError as error:
        raise BrokenInputError(str(path), f"cannot be read ({error})") from error
    reader = _Reader(text, str(path))
    if not reader.take("{"):
        reader.value()
        raise _not_coco(path, "it is no object with the keys images, annotations, categories")
    seen = set()
    for key in reader.members():
        if key not in _LISTS:
            reader.value()
            continue
        if not reader.take("["):
            raise _not_coco(path, f"its key {key!r} is no list")
        seen.add(key)
        for position in reader.elements():
            yield key, position, reader.value()
    for key in _LISTS:
        if key not in seen:
            raise _not_coco(path, f"it has no key {key!r}")


def _not_coco(path: Path, reason: str) -> DatasetNotFoundError:
    return DatasetNotFoundError(
        f"{path} is no COCO file: {reason}. The option annotations says which file to read"
    )


class _Reader:
    """Goes through a text of JSON."""

    def __init__(self, text: str, path: str) -> None:
        self._text, self._path, self._at = text, path, 0

    def take(self, character: str) -> bool:
        """Go over a character, if it comes next."""
        self._skip()
        found = self._text.startswith(character, self._at)
        self._at += found
        return found

    def value(self) -> Any:
        """Return the value that comes next."""
        self._skip()
        try:
            value, self._at = _DECODER.raw_decode(self._text, self._at)
        except (ValueError, RecursionError) as error:
            raise BrokenInputError(self._path, f"not readable as JSON ({error})") from error
        return value

    def members(self) -> Iterator[str]:
        """Yield the keys of an object; the value of each has to be taken before the next."""
        for _ in self._until("}"):
            key = self.value()
            self._expect(":")
            yield str(key)

    def elements(self) -> Iterator[int]:
        """Yield the positions of a list; the element at each has to be taken before the next."""
        yield from self._until("]")

    def _until(self, end: str) -> Iterator[int]:
        position = 0
        while not self.take(end):
            if position:
                self._expect(",")
            yield position
            position += 1

    def _expect(self, character: str) -> None:
        if not self.take(character):
            reason = f"not readable as JSON (expected {character!r} at character {self._at})"
            raise BrokenInputError(self._path, reason)

    def _skip(self) -> None:
        skip: Callable[..., Any] = _SPACE.match
        self._at = skip(self._text, self._at).end()
