"""Prompts for many images, from a JSON or CSV file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from syncsam_lightning.errors import PromptFileError

DEFAULT_LABEL = "object"
CSV_COLUMNS = ("image", "label", "object", "slice", "x0", "y0", "x1", "y1", "points")

SCHEMA: Mapping[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Prompts for syncsam predict",
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "required": ["image"],
        "anyOf": [{"required": ["box"]}, {"required": ["points"]}],
        "additionalProperties": False,
        "dependentRequired": {"point_labels": ["points"]},
        "properties": {
            "image": {
                "type": "string",
                "minLength": 1,
                "description": "file name or path of the image or volume; of a DICOM series its "
                "folder",
            },
            "label": {"type": "string", "pattern": r"\S", "description": "what the object is"},
            "object": {
                "type": "integer",
                "minimum": 1,
                "description": "tells several objects of one label in one volume apart",
            },
            "slice": {"type": "integer", "minimum": 0, "description": "of a volume, from 0"},
            "box": {
                "type": "array",
                "items": {"type": "number"},
                "minItems": 4,
                "maxItems": 4,
                "description": "x0, y0, x1, y1 in pixels, half open",
            },
            "points": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "array",
                    "items": {"type": "number"},
                    "minItems": 2,
                    "maxItems": 2,
                },
                "description": "x, y of pixels",
            },
            "point_labels": {
                "type": "array",
                "items": {"enum": [0, 1]},
                "description": "for each point 1 (object) or 0 (background); all 1 if left out",
            },
        },
    },
}
"""JSON Schema of a file of prompts."""


@dataclass(frozen=True, slots=True)
class ListedPrompt:
    """A prompt for an object on an image, or on a slice of a volume.

    Args:
        image: as the file names it; empty: any.
        label: what the object is.
        object: number among the objects of this label; None: not given.
        slice: of a volume; None on images.
        box: x0, y0, x1, y1 in original pixels, or None.
        points: x, y in original pixels.
        point_labels: for each point 1 or 0.
        where: place in the file, for messages.
    """

    image: str = ""
    label: str = DEFAULT_LABEL
    object: int | None = None
    slice: int | None = None
    box: tuple[float, ...] | None = None
    points: tuple[tuple[float, ...], ...] = ()
    point_labels: tuple[int, ...] = ()
    where: str = ""

    @property
    def arguments(self) -> dict[str, Any]:
        """The prompt as the arguments ``box``, ``points`` and ``labels`` of a predictor."""
        return {
            "box": self.box,
            "points": self.points or None,
            "labels": self.point_labels or None,
        }


def read_prompts(path: Path) -> list[ListedPrompt]:
    """Read a file of prompts.

    JSON: a list of entries as in :data:`SCHEMA`. CSV: the columns of :data:`CSV_COLUMNS`, of which
    all but ``image`` may be left out or empty; ``points`` holds ``x y label`` for each point,
    separated by semicolons.

    Raises:
        PromptFileError: the file can't be read or an entry is wrong; the message names the file,
            the entry, the key and the value.
    """
    suffix = path.suffix.lower()
    if suffix not in (".json", ".csv"):
        raise PromptFileError(f"{path}: a file of prompts is .json or .csv")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise PromptFileError(f"{path} is not UTF-8 text ({error})") from error
    except OSError as error:
        raise PromptFileError(f"{path} cannot be read: {error.strerror}") from error
    if suffix == ".csv":
        rows = _csv_entries(text, path)
        entries, places = list(rows.values()), [f"line {number}" for number in rows]
    else:
        try:
            entries = json.loads(text)
        except (ValueError, RecursionError) as error:  # digits or brackets without end
            raise PromptFileError(f"{path} is not JSON: {error}") from error
        listed = entries if isinstance(entries, list) else []
        places = [f"entry {number}" for number in range(len(listed))]
    _check(entries, path, places)
    return [
        _prompt(entry, f"{path}, {place}") for entry, place in zip(entries, places, strict=True)
    ]


def _check(entries: Any, path: Path, places: Sequence[str]) -> None:
    error = best_match(Draft202012Validator(SCHEMA).iter_errors(entries))
    if error is None:
        return
    where = list(error.absolute_path)
    if not where:
        raise PromptFileError(f"{path}: {_reason(error)}")
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where[1:])
    place = f"{path}, {places[int(where[0])]}"
    raise PromptFileError(f"{place}{': ' + key.lstrip('.') if key else ''}: {_reason(error)}")


def _reason(error: Any) -> str:
    if error.validator == "anyOf":
        return "there is neither a box nor points"
    if error.validator == "required" and error.validator_value in (["box"], ["points"]):
        return "there is neither a box nor points"
    if error.validator == "additionalProperties":
        known = ", ".join(SCHEMA["items"]["properties"])
        return f"{error.message}; known keys are {known}"
    if error.validator == "pattern":
        return _blank(error.instance)
    if error.validator == "minItems" and not error.absolute_path:
        return "there is no prompt in it"
    return str(error.message)


def _blank(label: str) -> str:
    return f"{label!r} is blank; name the object, or leave label out"


def _check_label(label: str, where: str) -> None:
    try:
        label.encode()
    except UnicodeEncodeError as error:  # half of a character: JSON and shells let it through
        raise PromptFileError(f"{where}: {label!r} is no text ({error.reason})") from error


def _prompt(entry: Mapping[str, Any], where: str) -> ListedPrompt:
    try:
        points = tuple(tuple(map(float, point)) for point in entry.get("points", ()))
        box = tuple(map(float, entry["box"])) if "box" in entry else None
    except OverflowError as error:
        raise PromptFileError(f"{where}: a coordinate has too many digits ({error})") from error
    labels = tuple(entry.get("point_labels", (1,) * len(points)))
    if len(labels) != len(points):
        raise PromptFileError(f"{where}: {len(points)} points, but {len(labels)} point_labels")
    label = entry.get("label", DEFAULT_LABEL)
    _check_label(label, f"{where}: label")
    # JSON Schema counts 2.0 as an integer.
    number, position = (
        None if value is None else int(value) for value in map(entry.get, ("object", "slice"))
    )
    return ListedPrompt(
        image=entry["image"],
        label=label,
        object=number,
        slice=position,
        box=box,
        points=points,
        point_labels=labels,
        where=where,
    )


def _csv_entries(text: str, path: Path) -> dict[int, dict[str, Any]]:
    """Return the entries of a table by the line on which they end."""
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = reader.fieldnames or ()
        _check_columns(columns, path)
        rows = ((reader.line_num, row) for row in reader if not _is_blank(row))
        return {line: _csv_entry(row, f"{path}, line {line}") for line, row in rows}
    except csv.Error as error:
        line = max(reader.line_num, 1)
        raise PromptFileError(f"{path}, line {line} is not CSV: {error}") from error


def _is_blank(row: Mapping[Any, Any]) -> bool:
    """Whether a line holds nothing but commas, as spreadsheets leave them at the end."""
    return not any(value and (isinstance(value, list) or value.strip()) for value in row.values())


def _check_columns(columns: Sequence[str], path: Path) -> None:
    for sign, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(columns) == 1 and sign in columns[0]:
            raise PromptFileError(
                f"{path}, line 1: its columns are separated by {name}: separate them by commas "
                "(numbers with a point)"
            )
    if unknown := [name for name in columns if name not in CSV_COLUMNS]:
        raise PromptFileError(
            f"{path}: unknown column {unknown[0]!r}; known are {', '.join(CSV_COLUMNS)}"
        )
    if twice := [name for name in columns if columns.count(name) > 1]:
        raise PromptFileError(f"{path}: two columns are called {twice[0]!r}")
    if "image" not in columns:
        raise PromptFileError(f"{path} has no column image; known are {', '.join(CSV_COLUMNS)}")


def _csv_entry(row: Mapping[Any, Any], where: str) -> dict[str, Any]:
    if None in row or None in row.values():
        raise PromptFileError(f"{where} has more or fewer values than there are columns")
    given = {name: value.strip() for name, value in row.items() if value.strip()}
    entry: dict[str, Any] = {key: given[key] for key in ("image", "label") if key in given}
    for key in ("object", "slice"):
        if key in given:
            entry[key] = _number(given[key], f"{where}: {key}", int)
    if corners := [key for key in ("x0", "y0", "x1", "y1") if key in given]:
        if len(corners) < 4:
            raise PromptFileError(f"{where}: a box needs x0, y0, x1 and y1, got {corners}")
        entry["box"] = [_number(given[key], f"{where}: {key}") for key in corners]
    if "points" in given:
        points = parse_points(given["points"], f"{where}: points")
        entry["points"] = [point[:2] for point in points]
        entry["point_labels"] = [int(point[2]) for point in points]
    return entry


def parse_points(text: str, where: str) -> list[list[float]]:
    """Return ``x y label`` for each point of ``"x y label; x y label"`` (commas do as well).

    A label that is left out is 1.

    Raises:
        PromptFileError: the text is something else.
    """
    points = []
    for part in text.split(";"):
        numbers = [_number(word, where) for word in part.replace(",", " ").split()]
        if len(numbers) not in (2, 3) or (len(numbers) == 3 and numbers[2] not in (0, 1)):
            raise PromptFileError(
                f"{where}: {part.strip()!r} is no point; write x y label, where the label is 1 "
                "(object) or 0 (background), and semicolons between points"
            )
        points.append([*numbers, 1.0][:3])
    return points


def parse_box(text: str, where: str) -> tuple[float, ...]:
    """Return the four numbers of ``"x0,y0,x1,y1"``.

    Raises:
        PromptFileError: the text is something else.
    """
    numbers = [_number(word, where) for word in text.replace(",", " ").split()]
    if len(numbers) != 4:
        raise PromptFileError(f"{where}: {text!r} is no box; write x0,y0,x1,y1")
    return tuple(numbers)


def prompt_of_options(
    box: str | None, points: str | None, label: str, number: int | None
) -> ListedPrompt:
    """Return the prompt that options of the command line give.

    Args:
        box: as :func:`parse_box` reads it.
        points: as :func:`parse_points` reads them.
        label: what the object is, not blank.
        number: of the slice.

    Raises:
        PromptFileError: an option is something else.
    """
    if not label.strip():
        raise PromptFileError(f"--label: {_blank(label)}")
    _check_label(label, "--label")
    clicks = [] if points is None else parse_points(points, "--points")
    return ListedPrompt(
        label=label,
        slice=number,
        box=None if box is None else parse_box(box, "--box"),
        points=tuple((x, y) for x, y, _ in clicks),
        point_labels=tuple(int(sign) for *_, sign in clicks),
    )


def _number(text: str, where: str, kind: type = float) -> Any:
    try:
        number = float(text)
        if kind is int and not number.is_integer():
            raise ValueError(text)
        return kind(number)
    except ValueError as error:
        what = "whole number" if kind is int else "number"
        raise PromptFileError(f"{where}: {text!r} is not a {what}") from error


def group_objects(prompts: Sequence[ListedPrompt]) -> dict[tuple[str, int], list[ListedPrompt]]:
    """Sort the prompts of one volume by object: those of one label and number are about one."""
    objects: dict[tuple[str, int], list[ListedPrompt]] = {}
    for prompt in prompts:
        objects.setdefault((prompt.label, prompt.object or 1), []).append(prompt)
    return objects
