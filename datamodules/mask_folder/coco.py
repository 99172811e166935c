"""Images of COCO files with their objects."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from syncsam_lightning.data.mask_layout import split_name
from syncsam_lightning.data.readers import IMAGE_SUFFIXES, MAX_PIXELS
from syncsam_lightning.errors import NAMED_BUT_MISSING, BrokenInputError
from syncsam_lightning.records import LazyMasks, NamedMask, Skipped

from .coco_files import CocoFile
from .coco_json import coco_items
from .outlines import OutlinedMask, Polygons, Runs, pycocotools, whole

_DUPLICATE = "duplicate id"
_FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")
_NOT_UTF8 = "name is not UTF-8"


@dataclass(frozen=True, slots=True)
class CocoImage:
    """An image with its objects.

    Args:
        name: what its file is called, without suffix.
        path: of the file.
        masks: its objects.
    """

    name: str
    path: Path
    masks: Sequence[NamedMask]


@dataclass(frozen=True, slots=True)
class _Object:
    category: Hashable
    outline: Polygons | Runs
    path: str


@dataclass(frozen=True, slots=True)
class _Objects:
    """Makes the masks of an image when called."""

    objects: Sequence[tuple[str, _Object]]
    height: int
    width: int

    def __call__(self) -> list[NamedMask]:
        found: list[NamedMask] = []
        numbers: Counter[str] = Counter()
        for label, one in self.objects:
            drawn = OutlinedMask(one.outline, self.height, self.width, one.path)
            found.append(NamedMask(label, drawn, one.path, numbers[label]))
            numbers[label] += 1
        return found


def coco_images(file: CocoFile, names: Mapping[int, str]) -> Iterator[CocoImage | Skipped]:
    """Yield the images of a file, and what of it can't be used.

    Args:
        file: to read.
        names: class names by category, before those of the file.

    Raises:
        BrokenInputError: it can't be read, or is no JSON.
        DatasetNotFoundError: it is JSON, but not of COCO.
        MissingPackageError: it holds polygons, and pycocotools is not installed.
    """
    content = _Content(file)
    yield from content.read()
    labels = dict(content.categories)
    labels.update(names.items())
    paths: dict[Path, Hashable] = {}
    for number, image in content.images.items():
        where = f"{file.path}[image {number}]"
        objects: list[tuple[str, _Object]] = []
        for one in content.objects.pop(number, ()):
            label = labels.get(one.category)
            if label is None:
                reason = f"no category has its category_id {one.category!r}"
                yield Skipped(one.path, reason, "unknown category")
            elif not _is_utf8(label):
                yield Skipped(one.path, "the name of its category is not UTF-8", _NOT_UTF8)
            else:
                objects.append((label, one))
        try:
            path, height, width = _checked(image, file, where)
        except BrokenInputError as error:
            yield Skipped(error.path, error.reason, error.kind)
            continue
        if path in paths:
            reason = f"its file {path.name} is that of image {paths[path]}, too, which is used"
            yield Skipped(where, reason, "image named twice")
            continue
        paths[path] = number
        masks: Sequence[NamedMask] = ()
        if objects:
            masks = LazyMasks(_Objects(objects, height, width), where, [str(file.path)])
        name = image["file_name"]
        yield CocoImage(name[: len(name) - len(path.suffix)], path, masks)
    for number, left in content.objects.items():
        for one in left:
            reason = f"no image has its image_id {number!r}"
            yield Skipped(one.path, reason, "unknown image")


def _checked(image: Mapping[str, Any], file: CocoFile, where: str) -> tuple[Path, int, int]:
    """Return the file of an image and the height and width that it is said to have."""
    name, sides = image.get("file_name"), (whole(image.get("height")), whole(image.get("width")))
    if not isinstance(name, str) or not name or not _is_utf8(name):
        raise BrokenInputError(where, f"file_name {name!r} is no name of a file", "unusable image")
    if "\\" in name or "\0" in name or name.startswith("/") or ".." in name.split("/"):
        reason = f"file_name {name!r} is not a path inside the folder of images"
        raise BrokenInputError(where, reason, "path leaves the folder")
    height, width = sides
    if not all(type(side) is int and side > 0 for side in sides):
        reason = f"height {height!r} and width {width!r} are no numbers of pixels"
        raise BrokenInputError(where, reason, "unusable image")
    assert isinstance(height, int)
    assert isinstance(width, int)
    if height * width > MAX_PIXELS:
        reason = f"declares {width}x{height} pixels, over the limit of {MAX_PIXELS}"
        raise BrokenInputError(where, reason, "unusable image")
    if split_name(Path(name))[1] not in IMAGE_SUFFIXES:
        reason = f"file_name {name!r} does not end with one of {' '.join(IMAGE_SUFFIXES)}"
        raise BrokenInputError(where, reason, "unusable image")
    try:
        # Some systems store letters with accents as two characters.
        names = dict.fromkeys((name, *(unicodedata.normalize(form, name) for form in _FORMS)))
        places = (folder / one for folder in file.folders for one in names)
        path = next((place for place in places if place.is_file()), None)
    except OSError:  # the name is too long
        path = None
    if path is None:
        reason = f"{file.path.name} names it, but there is no such file"
        there = next((folder for folder in file.folders if folder.is_dir()), file.path.parent)
        raise BrokenInputError(str(there / name), reason, NAMED_BUT_MISSING)
    return path, height, width


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(slots=True)
class _Content:
    """What a file says, by the ids that join it.

    Args:
        file: to read.
    """

    file: CocoFile
    images: dict[Hashable, Mapping[str, Any]] = field(default_factory=dict)
    categories: dict[Hashable, str] = field(default_factory=dict)
    objects: dict[Hashable, list[_Object]] = field(default_factory=dict)

    def read(self) -> Iterator[Skipped]:
        """Read the file; yield what of it can't be used."""
        seen: set[Hashable] = set()
        draws = False
        for key, position, item in coco_items(self.file.path):
            where = f"{self.file.path}[{key} {position}]"
            try:
                number = _id(item, "id", where)
                if key == "images":
                    self._add(self.images, number, item, where)
                elif key == "categories":
                    name = item.get("name")
                    named = isinstance(name, str) and name
                    self._add(self.categories, number, name if named else f"class_{number}", where)
                else:
                    where = f"{self.file.path}[annotation {number}]"
                    if number in seen:
                        raise BrokenInputError(where, "has the id of another", _DUPLICATE)
                    seen.add(number)
                    found = _Object(_id(item, "category_id", where), _outline(item, where), where)
                    draws |= isinstance(found.outline, Polygons)
                    self.objects.setdefault(_id(item, "image_id", where), []).append(found)
            except BrokenInputError as error:
                yield Skipped(error.path, error.reason, error.kind)
        if draws:
            pycocotools()

    def _add(self, items: dict[Hashable, Any], number: Hashable, item: object, where: str) -> None:
        if number in items:
            raise BrokenInputError(where, f"has the id {number!r} of another", _DUPLICATE)
        items[number] = item


def _id(item: object, key: str, where: str) -> Hashable:
    if not isinstance(item, dict):
        raise BrokenInputError(where, "is no object", "unusable entry")
    number = whole(item.get(key))
    if type(number) not in (int, str):
        reason = f"its {key} is {number!r}, no whole number or text"
        raise BrokenInputError(where, reason, "unusable entry")
    found: Hashable = number
    return found


def _outline(item: Mapping[str, Any], where: str) -> Polygons | Runs:
    if item.get("iscrowd"):
        reason = "is a crowd (iscrowd), which is no object; CVAT says so of objects drawn with the "
        reason += "brush, too: set iscrowd to 0 where it is one"
        raise BrokenInputError(where, reason, "crowd")
    segmentation = item.get("segmentation")
    if isinstance(segmentation, dict):
        return Runs.of(segmentation, where)
    if isinstance(segmentation, list) and segmentation:
        return Polygons.of(segmentation, where)
    reason = "has no segmentation" + (", only a box" if item.get("bbox") else "")
    raise BrokenInputError(where, reason, "no segmentation")
