"""The two JSON files of SA-Med2D-20M, of which one would take gigabytes as an object."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import ijson

from syncsam_lightning.errors import BrokenInputError

from .names import CLASSES

_log = logging.getLogger(__name__)

_CHUNK = 1 << 16
# No image has this many masks: don't collect what a damaged file goes on with.
_MOST_MASKS = 1 << 16


class Classes:
    """Class names by data set and number.

    Args:
        mapping: ``{data set: {class name: number}}``.
    """

    def __init__(self, mapping: Mapping[str, Mapping[str, int]]) -> None:
        self._names = {
            (source, number): name
            for source, numbers in mapping.items()
            for name, number in numbers.items()
        }
        self._told: set[tuple[str, int]] = set()

    @classmethod
    def read(cls, data: bytes, path: str) -> Classes:
        """Parse the mapping.

        Raises:
            BrokenInputError: it is not JSON of this form.
        """
        try:
            mapping: Any = json.loads(data.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise BrokenInputError(path, f"not readable as JSON ({error})") from error
        if not isinstance(mapping, dict) or not all(map(_is_numbered, mapping.values())):
            raise BrokenInputError(path, "expected {data set: {class name: number}}")
        return cls(mapping)

    def name(self, source: str, number: int) -> str:
        """Return the name of a class; one that has none gets its number, and a warning once."""
        key = (source, number)
        if key in self._names:
            return self._names[key]
        if key not in self._told:
            self._told.add(key)
            _log.warning("%s names no class %d of %s; using its number", CLASSES, number, source)
        return f"class_{number:04d}"


def _is_numbered(value: object) -> bool:
    return isinstance(value, dict) and all(type(number) is int for number in value.values())


def read_index(file: BinaryIO, path: str) -> Iterator[tuple[str, list[str]]]:
    """Yield image and masks of ``{image: [mask, ...]}``, pair by pair.

    Raises:
        BrokenInputError: it is not JSON of this form.
    """
    try:
        yield from _pairs(ijson.basic_parse(file, buf_size=_CHUNK))
    except (ijson.JSONError, ValueError, ArithmeticError, OSError) as error:
        raise BrokenInputError(
            path, f"not readable as JSON {{image: [mask, ...]}} ({error}); extract it again"
        ) from error


def _pairs(events: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    image = ""
    masks: list[str] | None = None
    depth = 0
    for event, value in events:
        if event == "start_map" and depth == 0:
            depth = 1
        elif event == "map_key":
            image = value
        elif event == "start_array" and depth == 1:
            depth, masks = 2, []
        elif event == "string" and masks is not None and len(masks) < _MOST_MASKS:
            masks.append(value)
        elif event == "end_array" and masks is not None:
            yield image, masks
            depth, masks = 1, None
        elif event != "end_map":
            raise ValueError(f"what it says of {image!r} is not a list of names")
