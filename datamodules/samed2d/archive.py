"""SA-Med2D-20M as downloaded: masks first, then images in storage order.

The masks of an image lie hundreds of gigabytes away from it, and nothing is unpacked. So the masks
are packed small in one pass over the archive; the second pass reads images and finds their masks.
"""

from __future__ import annotations

import hashlib
import io
import json
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol, runtime_checkable

import numpy as np

from syncsam_lightning.data.conversion import Records, WebRelease, Workbench
from syncsam_lightning.data.conversion.slice import NOT_ASKED_FOR
from syncsam_lightning.data.conversion.staged_masks import (
    Item,
    MaskFile,
    StagedMasks,
    stage_masks,
)
from syncsam_lightning.data.conversion.unreadable import UnreadableFiles
from syncsam_lightning.data.filter import RowFilter
from syncsam_lightning.data.keys import holds
from syncsam_lightning.data.readers import read_image, read_mask
from syncsam_lightning.data.sources import Entry, Source
from syncsam_lightning.errors import NAMED_BUT_MISSING, PART_MISSING, DatasetNotFoundError
from syncsam_lightning.records import NamedMask, RawSample, Skipped
from syncsam_lightning.seeding import stable_key
from syncsam_lightning.whole_files import whole_file

from .index import Classes, read_index
from .names import (
    BAD_IMAGE,
    BAD_MASK,
    CLASSES,
    INDEX,
    ImageName,
    MaskName,
    kind_of,
    source_of,
)
from .slice import NameSlice, in_group

_BATCH = 1 << 16


@runtime_checkable
class _Streams(Protocol):
    """A source that need not hold a whole file in memory: the index alone takes a gigabyte."""

    def open(self, entry: Entry) -> BinaryIO: ...


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """Reads an image when called."""

    source: Source
    entry: Entry

    def __call__(self) -> np.ndarray:
        """Return the pixels."""
        return read_image(self.entry.name, self.source.read(self.entry))


@dataclass(frozen=True, slots=True)
class MaskEntry:
    """Reads a mask when called."""

    source: Source
    entry: Entry

    def __call__(self) -> np.ndarray:
        """Return ``(H, W)`` bool."""
        return read_mask(self.entry.name, self.source.read(self.entry))


@dataclass(frozen=True, slots=True)
class Survey:
    """What an archive holds, told from its directory alone.

    Args:
        images: int64, ascending keys of the images' names without ``.png``.
        masks: the same of the masks.
        lost: the same of the images and masks that are listed but can't be read.
        index: the entry of the index, None if it is not there.
        classes: the entry of the class names.
        folder: in which they lie, ``""`` or ending with ``/``.
    """

    images: np.ndarray
    masks: np.ndarray
    lost: np.ndarray
    index: Entry | None
    classes: Entry
    folder: str

    @classmethod
    def of(
        cls, source: Source, where: str, unreadable: UnreadableFiles, chosen: RowFilter
    ) -> Survey:
        """Look through a directory.

        Args:
            source: the archive.
            where: it lies, for messages.
            unreadable: counts what is lost with missing parts.
            chosen: what is asked for of it; nothing else can be lost.

        Raises:
            DatasetNotFoundError: it is not that of a release, or lacks the class names.
        """
        keys = {"images": array("q"), "masks": array("q")}
        lost, num_read = array("q"), 0
        found: dict[str, Entry] = {}
        for entry in source.entries():
            if isinstance(entry, Skipped):
                if entry.kind == PART_MISSING and in_group(entry.path, chosen):
                    unreadable.add(1, [entry])
                    lost.append(stable_key(kind_of(entry.path)[1]))
                continue
            num_read += 1
            kind, stem = kind_of(entry.name)
            if kind in keys:
                keys[kind].append(stable_key(stem))
            elif kind in (INDEX, CLASSES):
                found[kind] = entry
        if CLASSES not in found or not keys["images"]:
            lacks = f"{CLASSES} is not in it" if keys["images"] else "no images/NAME.png is in it"
            raise DatasetNotFoundError(
                f"no SA-Med2D-20M in {where}: {lacks}. Give the folder of the archive's parts, one "
                "of them, the joined archive, or the unpacked release"
            )
        images, masks = (np.sort(np.frombuffer(keys[kind], np.int64)) for kind in keys)
        folder = found[CLASSES].name.removesuffix(CLASSES)
        unreadable.add(num_read)
        lost_keys = np.unique(np.frombuffer(lost, np.int64))
        return cls(images, masks, lost_keys, found.get(INDEX), found[CLASSES], folder)

    def digest(self) -> str:
        """Return what another content would have otherwise."""
        digest = hashlib.blake2b(self.images.tobytes(), digest_size=8)
        digest.update(self.masks.tobytes())
        digest.update(self.lost.tobytes())
        return digest.hexdigest()


def open_archive(
    source: Source, bench: Workbench, where: str, web: WebRelease | None = None
) -> Records:
    """Stage the masks, compare the archive with its index, and return what reads its samples.

    Args:
        source: the archive.
        bench: for the stages.
        where: the archive lies, for messages.
        web: where it lies on a web server: reads what is needed of it.

    Raises:
        DatasetNotFoundError: it is not this release, or lacks the class names.
        BrokenInputError: the index or the class names cannot be read.
        FilterError: what is asked for is not there.
    """
    lost = UnreadableFiles(bench.options.max_unreadable, None, "files")
    survey = Survey.of(source, where, lost, bench.chosen)
    lost.close()  # told now, not after hours of work on the rest
    if web is not None:
        web.keep(lambda name: kind_of(name)[0] in (INDEX, CLASSES), f"{INDEX} and {CLASSES}")
    classes = Classes.read(source.read(survey.classes), survey.classes.name)
    part = None
    if bench.chosen.given():
        part = NameSlice.of(source.entries(), bench.chosen, classes, where)
    if web is not None:
        source = web.fetch(part.has_file if part else lambda name: bool(kind_of(name)[1]))
    masks = stage_masks(
        bench, _mask_files(source, part), part.num_masks if part else len(survey.masks)
    )
    mismatches = bench.folder / f"mismatches-{survey.digest()}-{masks.digest}.jsonl"
    if not mismatches.exists():
        _list_mismatches(_mismatches(source, survey, masks, part), mismatches)
    bench.options.at("reconciled")
    return partial(_records, source, masks, classes, mismatches, part)


def _mask_files(source: Source, part: NameSlice | None) -> Iterator[Item]:
    for entry in source.entries():
        if isinstance(entry, Skipped):
            continue
        kind, stem = kind_of(entry.name)
        if kind != "masks" or not (part is None or part.has_mask(stem)):
            continue
        name = MaskName.parse(stem)
        if name is None or ImageName.parse(name.image) is None:
            yield Skipped(entry.name, BAD_MASK, "malformed name", source_of(stem))
        else:
            yield MaskFile(name.image, entry.name, source_of(stem), MaskEntry(source, entry))


def _records(
    source: Source,
    masks: StagedMasks,
    classes: Classes,
    mismatches: Path,
    part: NameSlice | None,
) -> Iterator[RawSample | Skipped]:
    for entry in source.entries():
        if isinstance(entry, Skipped):
            yield replace(entry, source=source_of(kind_of(entry.path)[1]))
            continue
        kind, stem = kind_of(entry.name)
        if kind == "images":
            name = ImageName.parse(stem)
            if name is None:
                yield Skipped(entry.name, BAD_IMAGE, "malformed name", source_of(stem))
            else:
                sample = _image(source, entry, stem, name)
                if part is not None and not part.has_image(stem):
                    yield replace(sample, masks=NOT_ASKED_FOR if part.is_masked(stem) else ())
                else:
                    yield from _with_masks(sample, masks, classes)
        elif kind not in ("masks", INDEX, CLASSES):
            yield Skipped(entry.name, "neither an image nor a mask", "unknown file")
    with mismatches.open(encoding="utf-8") as file:
        for line in file:
            yield Skipped(*json.loads(line))


def _image(source: Source, entry: Entry, stem: str, name: ImageName) -> RawSample:
    return RawSample(
        id=stem,
        image=ImageEntry(source, entry),
        masks=(),
        modality=name.modality,
        source=name.source,
        case=name.case,
        slice=name.position,
        path=entry.name,
    )


def _with_masks(
    sample: RawSample, masks: StagedMasks, classes: Classes
) -> Iterator[RawSample | Skipped]:
    objects: list[NamedMask] = []
    for path, pixels in masks.of(sample.id):
        mask = MaskName.parse(PurePosixPath(path).stem)
        assert mask is not None
        if objects and objects[-1].path == path:
            yield Skipped(path, "stored twice; the first is used", "duplicate mask", sample.source)
            continue
        label = classes.name(sample.source, mask.class_id)
        objects.append(NamedMask(label, pixels, path, mask.instance))
    yield replace(sample, masks=tuple(objects))


def _list_mismatches(found: Iterable[Skipped], path: Path) -> None:
    with whole_file(path) as file:
        for skip in found:
            line = [skip.path, skip.reason, skip.kind, skip.source]
            file.write(json.dumps(line).encode() + b"\n")


def _mismatches(
    source: Source, survey: Survey, masks: StagedMasks, part: NameSlice | None
) -> Iterator[Skipped]:
    for name in masks.without_image(survey.images):
        stem = PurePosixPath(name).stem
        reason = "its image is not there"
        if (parsed := MaskName.parse(stem)) and holds(survey.lost, stable_key(parsed.image)):
            reason = "its image is lost with a part of the archive"
        yield Skipped(name, reason, "mask without image", source_of(stem))
    if survey.index is None:
        reason = "it is not there, so nobody knows what else is missing"
        yield Skipped(survey.folder + INDEX, reason, "missing index")
        return
    with _open(source, survey.index) as file:
        named = _named(read_index(file, survey.index.name))
        if part is not None:
            named = filter(partial(in_group, chosen=part.chosen), named)
        while batch := list(islice(named, _BATCH)):
            yield from _missing(batch, survey)


def _named(pairs: Iterator[tuple[str, list[str]]]) -> Iterator[str]:
    for image, masks in pairs:
        yield image
        yield from masks


def _missing(names: list[str], survey: Survey) -> Iterator[Skipped]:
    """Yield those names of the index that the archive lacks."""
    found = np.zeros(len(names), bool)
    kinds = [kind_of(name) for name in names]
    for folder, keys in (("images", survey.images), ("masks", survey.masks)):
        mine = [number for number, (kind, _) in enumerate(kinds) if kind == folder]
        wanted = np.array([stable_key(kinds[number][1]) for number in mine], np.int64)
        # What is lost with a part of the archive has a line of its own already.
        found[mine] = np.isin(wanted, keys) | np.isin(wanted, survey.lost)
    for name, there in zip(names, found.tolist(), strict=True):
        if not there:
            reason = f"{INDEX} names it, but it is not there"
            source = source_of(PurePosixPath(name).stem)
            yield Skipped(name, reason, NAMED_BUT_MISSING, source)


def _open(source: Source, entry: Entry) -> BinaryIO:
    return source.open(entry) if isinstance(source, _Streams) else io.BytesIO(source.read(entry))
