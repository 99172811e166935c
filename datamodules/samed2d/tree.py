"""SA-Med2D-20M, unpacked: what the index names, in its order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from syncsam_lightning.errors import NAMED_BUT_MISSING, BrokenInputError, DatasetNotFoundError
from syncsam_lightning.records import NamedMask, RawSample, Skipped

from .index import Classes, read_index
from .names import (
    BAD_IMAGE,
    BAD_MASK,
    CLASSES,
    FOLDER,
    INDEX,
    ImageName,
    MaskName,
    file_of,
)

_NO_FILE = f"{INDEX} names it, but there is no such file"


def release_folder(root: Path) -> Path | None:
    """Return the folder of an unpacked release, None if there is none.

    Raises:
        DatasetNotFoundError: a part of it is missing.
    """
    for folder in (root / FOLDER, root):
        if (folder / INDEX).is_file():
            if not (folder / CLASSES).is_file():
                raise DatasetNotFoundError(
                    f"{folder} has {INDEX} but no {CLASSES}, which lies beside it in the archive; "
                    "extract it from there"
                )
            return folder
    return None


def tree_samples(release: Path) -> Iterator[RawSample | Skipped]:
    """Yield every image of the index, in its order, which takes no memory to speak of.

    Raises:
        BrokenInputError: one of the JSON files cannot be read; the message names it.
    """
    path = release / CLASSES
    try:
        classes = Classes.read(path.read_bytes(), str(path))
    except OSError as error:
        raise BrokenInputError(str(path), f"not readable ({error})") from error
    with (release / INDEX).open("rb") as file:
        for image, masks in read_index(file, str(release / INDEX)):
            yield from _image_records(release, image, masks, classes)


def _image_records(
    release: Path, image: str, masks: list[str], classes: Classes
) -> Iterator[RawSample | Skipped]:
    file = file_of(image, "images")
    if file is None:
        reason = f"{INDEX} names it, but it is not of the form images/NAME.png"
        yield Skipped(image, reason, "unsafe or misplaced path")
        return
    path = release / "images" / file
    name = ImageName.parse(path.stem)
    if name is None:
        yield Skipped(str(path), BAD_IMAGE, "malformed name")
        return
    if not path.is_file():
        yield Skipped(str(path), _NO_FILE, NAMED_BUT_MISSING, name.source)
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
    release: Path, entry: str, stem: str, image: ImageName, classes: Classes
) -> NamedMask | Skipped:
    file = file_of(entry, "masks")
    if file is None:
        reason = f"{INDEX} names it, but it is not of the form masks/NAME.png"
        return Skipped(entry, reason, "unsafe or misplaced path", image.source)
    path = release / "masks" / file
    name = MaskName.parse(path.stem)
    if name is None or name.image != stem:
        return Skipped(str(path), BAD_MASK, "malformed name", image.source)
    if not path.is_file():
        return Skipped(str(path), _NO_FILE, NAMED_BUT_MISSING, image.source)
    label = classes.name(image.source, name.class_id)
    return NamedMask(label, path, instance=name.instance)
