"""SA-Med2D-20M, unpacked: what the index names, in its order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from syncsam_lightning.data.source_files import ImageFile, ObjectFile, read_file
from syncsam_lightning.data.sources import Entry, local_tree
from syncsam_lightning.data.sources.tree import Tree
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


def release_tree(root: Path) -> Tree | None:
    """Return the folder of an unpacked release, None if there is none.

    Raises:
        DatasetNotFoundError: a part of it is missing.
    """
    for tree in (local_tree(root / FOLDER), local_tree(root)):
        if tree.find(INDEX) is not None:
            if tree.find(CLASSES) is None:
                raise DatasetNotFoundError(
                    f"{tree.where('')} has {INDEX} but no {CLASSES}, which lies beside it in the "
                    "archive; extract it from there"
                )
            return tree
    return None


def tree_samples(tree: Tree) -> Iterator[RawSample | Skipped]:
    """Yield every image of the index, in its order, which takes no memory to speak of.

    Files are looked up one by one: the folders may hold more names than fit into memory.

    Raises:
        BrokenInputError: one of the JSON files cannot be read; the message names it.
    """
    classes = Classes.read(read_file(tree, _found(tree, CLASSES)), tree.where(CLASSES))
    with tree.open(_found(tree, INDEX)) as file:
        for image, masks in read_index(file, tree.where(INDEX)):
            yield from _image_records(tree, image, masks, classes)


def _found(tree: Tree, name: str) -> Entry:
    found = tree.find(name)
    if isinstance(found, Entry):
        return found
    raise BrokenInputError(tree.where(name), found.reason if found else "it is not there")


def _listed(tree: Tree, name: str, source: str) -> Entry | Skipped:
    found = tree.find(name)
    if found is None:
        return Skipped(tree.where(name), _NO_FILE, NAMED_BUT_MISSING, source)
    if isinstance(found, Skipped):
        return replace(found, path=tree.where(name), source=source)
    return found


def _image_records(
    tree: Tree, image: str, masks: list[str], classes: Classes
) -> Iterator[RawSample | Skipped]:
    file = file_of(image, "images")
    if file is None:
        reason = f"{INDEX} names it, but it is not of the form images/NAME.png"
        yield Skipped(image, reason, "unsafe or misplaced path")
        return
    path, stem = f"images/{file}", PurePosixPath(file).stem
    name = ImageName.parse(stem)
    if name is None:
        yield Skipped(tree.where(path), BAD_IMAGE, "malformed name")
        return
    found = _listed(tree, path, name.source)
    if isinstance(found, Skipped):
        yield found
        return
    objects = []
    for entry in masks:
        mask = _mask(tree, entry, stem, name, classes)
        if isinstance(mask, Skipped):
            yield mask
        else:
            objects.append(mask)
    pixels = ImageFile(tree, found)
    yield RawSample(
        id=stem,
        image=pixels,
        masks=tuple(objects),
        modality=name.modality,
        source=name.source,
        case=name.case,
        slice=name.position,
        path=pixels.path,
    )


def _mask(
    tree: Tree, entry: str, stem: str, image: ImageName, classes: Classes
) -> NamedMask | Skipped:
    file = file_of(entry, "masks")
    if file is None:
        reason = f"{INDEX} names it, but it is not of the form masks/NAME.png"
        return Skipped(entry, reason, "unsafe or misplaced path", image.source)
    path = f"masks/{file}"
    name = MaskName.parse(PurePosixPath(file).stem)
    if name is None or name.image != stem:
        return Skipped(tree.where(path), BAD_MASK, "malformed name", image.source)
    found = _listed(tree, path, image.source)
    if isinstance(found, Skipped):
        return found
    label = classes.name(image.source, name.class_id)
    pixels = ObjectFile(tree, found)
    return NamedMask(label, pixels, pixels.path, name.instance)
