"""SA-Med2D-20M: masks of 8 modalities, one file for each object.

Names are parsed on ``--`` only: names of sources are substrings of one another (``KiTS`` and
``KiTS2021``) and contain single dashes and underscores.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, TextIO

from syncsam_lightning.data.datamodule import PromptableDataModule
from syncsam_lightning.errors import BrokenInputError, DatasetNotFoundError
from syncsam_lightning.records import DatasetCard, NamedMask, RawSample, Skipped

FOLDER = "SAMed2Dv1"
INDEX = "SAMed2D_v1.json"
CLASSES = "SAMed2D_v1_class_mapping_id.json"

_log = logging.getLogger(__name__)

# The modalities whose first word alone does not name them.
_TWO_WORDS = ("x_ray", "fundus_photography")
_TOKEN = re.compile(r"[a-z]+(_[a-z0-9]+)+")
_POSITION = re.compile(r"(?:[xyz]_\d+|2d_none)")
_OBJECT = re.compile(r"(?P<class_id>\d{4,})_(?P<instance>\d{3,})")
_CHUNK = 1 << 20
_LONGEST = 16 << 20


class SAMed2D(PromptableDataModule):
    """SA-Med2D-20M, unpacked. The release has no split: the datamodule draws one.

    ``root`` is the folder ``SAMed2Dv1`` or the folder that holds it.

    An object whose class is missing from the mapping keeps its mask and is labelled by its number
    (``class_0003``); a warning says so once per class.
    """

    card: ClassVar[DatasetCard] = DatasetCard(
        name="SA-Med2D-20M",
        description=(
            "3.7 million 2D images with 15.8 million masks, sliced out of 200 public data sets of "
            "CT, MR, PET, X-ray, ultrasound, endoscopy, dermoscopy and fundus photography."
        ),
        homepage="https://huggingface.co/datasets/OpenGVLab/SA-Med2D-20M",
        license="CC-BY-NC-SA-4.0 (the data's page; another page of the owners says Apache-2.0)",
        citation="Ye et al.: SA-Med2D-20M dataset: segment anything in 2D medical imaging with "
        "20 million masks, arXiv:2311.11969, 2023",
        modalities=(
            "ct",
            "mr",
            "pet",
            "x_ray",
            "ultrasound",
            "endoscopy",
            "dermoscopy",
            "fundus_photography",
        ),
        layout=(
            "SAMed2Dv1/SAMed2D_v1.json                    {image: [mask, ...]}",
            "SAMed2Dv1/SAMed2D_v1_class_mapping_id.json   {data set: {class name: id}}",
            "SAMed2Dv1/images/MODALITY_SUB--DATASET--CASE--AXIS_SLICE.png",
            "SAMed2Dv1/masks/MODALITY_SUB--DATASET--CASE--AXIS_SLICE--CLASS_INSTANCE.png",
        ),
    )

    def records(self, root: Path) -> Iterator[RawSample | Skipped]:
        """Yield every image of the index, in its order, which takes no memory to speak of.

        Args:
            root: ``SAMed2Dv1`` or the folder that holds it.

        Raises:
            DatasetNotFoundError: one of the two JSON files is not there.
            BrokenInputError: one of them cannot be read; the message names it.
        """
        release = _release_folder(root)
        classes = _read_classes(release / CLASSES)
        for image, masks in _read_index(release / INDEX):
            yield from _image_records(release, image, masks, classes)


@dataclass(frozen=True, slots=True)
class _ImageName:
    """The fields of an image's file name."""

    modality: str
    source: str
    case: str
    position: str

    @classmethod
    def parse(cls, stem: str) -> _ImageName | None:
        fields = stem.split("--")
        if len(fields) != 4 or not all(fields):
            return None
        token, source, case, position = fields
        if not _TOKEN.fullmatch(token) or not _POSITION.fullmatch(position):
            return None
        modality = token if token in _TWO_WORDS else token.partition("_")[0]
        return cls(modality, source, case, position)


class _Classes:
    """Class names by data set and number."""

    def __init__(self, mapping: Mapping[str, Mapping[str, int]]) -> None:
        self._names = {
            (source, number): name
            for source, numbers in mapping.items()
            for name, number in numbers.items()
        }
        self._told: set[tuple[str, int]] = set()

    def name(self, source: str, number: int) -> str:
        key = (source, number)
        if key in self._names:
            return self._names[key]
        if key not in self._told:
            self._told.add(key)
            _log.warning("%s names no class %d of %s; using its number", CLASSES, number, source)
        return f"class_{number:04d}"


def _release_folder(root: Path) -> Path:
    for folder in (root / FOLDER, root):
        if (folder / INDEX).is_file():
            if not (folder / CLASSES).is_file():
                raise DatasetNotFoundError(
                    f"{folder} has {INDEX} but no {CLASSES}, which lies beside it in the archive; "
                    "extract it from there"
                )
            return folder
    raise DatasetNotFoundError(
        f"no SA-Med2D-20M in {root}: neither {FOLDER}/{INDEX} nor {INDEX} is there. Both JSON "
        "files are inside the multi-volume archive: join its parts and extract them all"
    )


def _read_classes(path: Path) -> _Classes:
    try:
        mapping: Any = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise BrokenInputError(str(path), f"not readable as JSON ({error})") from error
    if not isinstance(mapping, dict) or not all(map(_is_numbered, mapping.values())):
        raise BrokenInputError(str(path), "expected {data set: {class name: number}}")
    return _Classes(mapping)


def _is_numbered(value: object) -> bool:
    return isinstance(value, dict) and all(type(number) is int for number in value.values())


def _read_index(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Read ``{image: [mask, ...]}`` pair by pair: as one object it would take gigabytes."""
    try:
        with path.open(encoding="utf-8") as file:
            for image, masks in _Pairs(file):
                if not isinstance(masks, list) or not all(isinstance(m, str) for m in masks):
                    raise ValueError(f"the masks of {image!r} are not a list of names")
                yield image, masks
    except (ValueError, OSError) as error:
        raise BrokenInputError(
            str(path), f"not readable as JSON {{image: [mask, ...]}} ({error}); extract it again"
        ) from error


class _Pairs:
    """Iterates over the pairs of one JSON object while reading it in pieces."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text = ""
        self._at = 0
        self._base = 0
        self._decoder = json.JSONDecoder()

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        self._take("{")
        if self._peek() == "}":
            self._take("}")
        else:
            while True:
                if self._peek() != '"':
                    raise ValueError(f"expected a name at character {self._base + self._at}")
                key = self._value()
                self._take(":")
                yield key, self._value()
                if self._take(",}") == "}":
                    break
        if self._peek():
            raise ValueError(f"something follows the end at character {self._base + self._at}")

    def _more(self) -> bool:
        piece = self._file.read(_CHUNK)
        self._base += self._at
        self._text = self._text[self._at :] + piece
        self._at = 0
        return bool(piece)

    def _peek(self) -> str:
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in " \t\r\n":
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ""

    def _take(self, expected: str) -> str:
        found = self._peek()
        if not found or found not in expected:
            place = f"at character {self._base + self._at}" if found else "but the file ends"
            raise ValueError(f"expected one of {expected!r} {place}")
        self._at += 1
        return found

    def _value(self) -> Any:
        """Decode a string, list or object. A value that ends with the text may go on after it."""
        self._peek()
        while True:
            try:
                value, self._at = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                reason = f"{error.msg} at character {self._base + error.pos}"
                # No image has this many masks: don't read on to the end of a damaged file.
                if len(self._text) - self._at > _LONGEST or not self._more():
                    raise ValueError(reason) from None
            else:
                return value


def _image_records(
    release: Path, image: str, masks: list[str], classes: _Classes
) -> Iterator[RawSample | Skipped]:
    path = _inside(release, image, "images")
    if path is None:
        yield Skipped(image, f"{INDEX} names it, but it is not of the form images/NAME.png")
        return
    name = _ImageName.parse(path.stem)
    if name is None:
        yield Skipped(str(path), "its name is not MODALITY_SUB--DATASET--CASE--AXIS_SLICE.png")
        return
    if not path.is_file():
        yield Skipped(str(path), f"{INDEX} names it, but there is no such file")
        return
    objects = []
    for entry in masks:
        found = _mask(release, entry, path.stem, name, classes)
        if isinstance(found, Skipped):
            yield found
        else:
            objects.append(found)
    yield RawSample(
        id=path.stem,
        image=path,
        masks=tuple(objects),
        modality=name.modality,
        source=name.source,
        case=name.case,
        slice=name.position,
    )


def _mask(
    release: Path, entry: str, stem: str, image: _ImageName, classes: _Classes
) -> NamedMask | Skipped:
    path = _inside(release, entry, "masks")
    if path is None:
        return Skipped(entry, f"{INDEX} names it, but it is not of the form masks/NAME.png")
    prefix = f"{stem}--"
    found = _OBJECT.fullmatch(path.stem.removeprefix(prefix))
    if not path.stem.startswith(prefix) or found is None:
        return Skipped(str(path), "its name is not its image's name with --CLASS_INSTANCE")
    if not path.is_file():
        return Skipped(str(path), f"{INDEX} names it, but there is no such file")
    label = classes.name(image.source, int(found["class_id"]))
    return NamedMask(label, path, instance=int(found["instance"]))


def _inside(release: Path, entry: str, folder: str) -> Path | None:
    """Return the file of an index entry; None for what lies elsewhere or leaves the release."""
    parts = PurePosixPath(entry)
    if parts.parts != (folder, parts.name) or "\\" in entry or "\0" in entry:
        return None
    return release / folder / parts.name if parts.suffix == ".png" else None
