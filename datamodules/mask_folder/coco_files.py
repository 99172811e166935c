"""Where the COCO files of a root lie, and in which folders their images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from syncsam_lightning.data.mask_layout import visible_files
from syncsam_lightning.errors import DatasetNotFoundError
from syncsam_lightning.records import SPLITS, Skipped, Split

FILES = ("annotations.json", "_annotations.coco.json")
"""Names of a file beside its images."""

FOLDER = "annotations"
NONE = "none"
"""Value of the option ``annotations`` with which COCO files are left alone."""

_SIDES: dict[str, Split] = {"train": "train", "val": "val", "valid": "val", "test": "test"}
_YEARS = ("", "2014", "2017")
_SIDE_OF = re.compile(r"(?<![a-z])(train|valid|val|test)(?![a-z])")
IMAGE_FOLDERS = ("images", *(side + year for side in _SIDES for year in _YEARS))
"""Folders of a root in which images are looked for."""


@dataclass(frozen=True, slots=True)
class CocoFile:
    """A COCO file.

    Args:
        path: of the file.
        split: that its name, or that of its folder, says.
        folders: in which its images are looked for, in this order.
    """

    path: Path
    split: Split | None
    folders: tuple[Path, ...]


def coco_files(root: Path, annotations: str | None) -> list[CocoFile | Skipped]:
    """Return the COCO files of a root; none if its masks are files.

    Args:
        root: of the images.
        annotations: a file or a folder of files, relative to the root; None: where they usually
            lie; :data:`NONE`: none are looked for.

    Raises:
        DatasetNotFoundError: the file that the option names is not there, there are several for one
            split, or there are folders of masks, too, and no option says what counts.
    """
    if annotations == NONE:
        return []
    found: list[CocoFile | Skipped]
    if annotations is not None:
        place = root / annotations
        if not place.exists():
            raise DatasetNotFoundError(f"annotations: there is no {place}")
        found = [*_in_folder(root, place)] if place.is_dir() else [_one(root, place, None)]
    else:
        found = [*_found(root)]
    files = [file for file in found if isinstance(file, CocoFile)]
    for first, second in combinations(files, 2):
        if first.split in (None, second.split) or second.split is None:
            side = first.split or second.split or "all"
            raise DatasetNotFoundError(
                f"{first.path} and {second.path} are both COCO files for {side} images: say with "
                "the option annotations which to read"
            )
    if not files and annotations is not None:
        raise DatasetNotFoundError(f"annotations: {root / annotations} holds no COCO file")
    masks = [root / part / "masks" for part in ("", *SPLITS) if (root / part / "masks").is_dir()]
    if files and masks and annotations is None:
        name = files[0].path.relative_to(root)
        raise DatasetNotFoundError(
            f"{root} has both a COCO file, {name}, and a folder of masks, {masks[0]}: set the "
            f"option annotations to {name} to read the first, to {NONE} to read the second"
        )
    return found if files else []


def _found(root: Path) -> Iterator[CocoFile | Skipped]:
    for name in FILES:
        if (root / name).is_file():
            yield _one(root, root / name, None)
    for side, split in _SIDES.items():
        for name in FILES:
            if (path := root / side / name).is_file():
                yield CocoFile(path, split, (root / side, root / side / "images", root))
    if (root / FOLDER).is_dir():
        yield from _in_folder(root, root / FOLDER)


def _in_folder(root: Path, folder: Path) -> Iterator[CocoFile | Skipped]:
    files = [path for path in visible_files(folder) if path.suffix.lower() == ".json"]
    # COCO itself has captions and key points beside them.
    files = [path for path in files if path.name.startswith("instances")] or files
    for path in files:
        side = _SIDE_OF.search(path.stem.lower())
        if side is None and len(files) > 1:
            yield Skipped(str(path), "its name holds none of train, val, test: which split is it?")
        else:
            yield _one(root, path, side and side[1])


def _one(root: Path, path: Path, side: str | None) -> CocoFile:
    split = _SIDES[side] if side else None
    sides = [name for name, other in _SIDES.items() if other == split]
    named = [name + year for name in sides for year in reversed(_YEARS)]
    folders = [*(root / "images" / name for name in named), *(root / name for name in named)]
    # CVAT: images of instances_default.json lie in images/default.
    subset = path.stem.removeprefix("instances_")
    if subset != path.stem and subset.strip("."):
        folders.insert(0, root / "images" / subset)
    folders += [root / "images", path.parent, path.parent / "images", root]
    return CocoFile(path, split, tuple(dict.fromkeys(folders)))
