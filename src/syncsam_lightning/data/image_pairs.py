"""Images and grey masks in folders side by side, of which each component is an object."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from syncsam_lightning.data.components import ComponentMask, Components, SmallestObject
from syncsam_lightning.data.readers import IMAGE_SUFFIXES, read_grey
from syncsam_lightning.data.source_files import ImageFile, Unusable, read_file
from syncsam_lightning.data.sources import Entry, Source
from syncsam_lightning.errors import BrokenInputError, DatasetNotFoundError
from syncsam_lightning.records import LazyMasks, NamedMask, RawSample, Skipped


@dataclass(frozen=True, slots=True)
class PairLayout:
    """Where the files of a pair lie: ``ANY/IMAGES/NAME.png`` and ``ANY/MASKS/NAME.png``.

    Only the folder that a file lies in tells what it is, never what the release or a folder above
    is called.

    Args:
        image_folders, mask_folders: what the two folders are called, in lower case.
        image_ending, mask_ending: what follows ``NAME``, where that differs.
    """

    image_folders: tuple[str, ...]
    mask_folders: tuple[str, ...]
    image_ending: str = ""
    mask_ending: str = ""

    def describe(self) -> str:
        """Return the layout in one clause, for messages."""
        return (
            f"a folder {' or '.join(self.image_folders)} with NAME{self.image_ending}.png (or "
            f"{' '.join(IMAGE_SUFFIXES[1:])}) beside a folder {' or '.join(self.mask_folders)} "
            f"with NAME{self.mask_ending}.png"
        )


@dataclass(frozen=True, slots=True)
class Pair:
    """An image and its mask.

    Args:
        folder: that holds their two folders, inside the release; ``""`` is its top.
        name: of both, without suffix and ending.
        image, mask: the files.
    """

    folder: str
    name: str
    image: Entry
    mask: Entry

    @property
    def id(self) -> str:
        """What tells the pair from all others of the release."""
        return f"{self.folder}/{self.name}" if self.folder else self.name


def find_pairs(source: Source, layout: PairLayout, data_set: str) -> Iterator[Pair | Skipped]:
    """Yield the pairs of a release by folder and name, after what cannot be used.

    Args:
        source: the release.
        layout: of it.
        data_set: its name, for reports.

    Raises:
        DatasetNotFoundError: there is no image or no mask where the layout has them.
        BrokenInputError: the directory of the archive is damaged.
    """
    images, masks = _Side(layout.image_ending), _Side(layout.mask_ending)
    sides = dict.fromkeys(layout.image_folders, images) | dict.fromkeys(layout.mask_folders, masks)
    skipped: list[Skipped] = []
    for entry in source.entries():
        if isinstance(entry, Skipped):
            skipped.append(entry)
            continue
        path = PurePosixPath(entry.name)
        side = sides.get(path.parent.name.lower())
        if path.name.startswith("."):
            continue  # left behind by file managers
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            if side is not None:
                reason = f"it is no image file ({' '.join(IMAGE_SUFFIXES)})"
                skipped.append(Skipped(source.where(entry.name), reason, "unknown file", data_set))
        elif side is None:
            reason = "the folder that it lies in holds neither images nor masks by its name"
            skipped.append(Skipped(source.where(entry.name), reason, "misplaced file", data_set))
        elif (first := side.add(path, entry)) is not entry:
            reason = f"{source.where(first.name)} has its name too and is used"
            skipped.append(Skipped(source.where(entry.name), reason, "same name twice", data_set))
    if not images.files or not masks.files:
        raise DatasetNotFoundError(
            f"no {data_set} in {source.where('')}: found {len(images.files)} images and "
            f"{len(masks.files)} masks, expected {layout.describe()}"
        )
    yield from skipped
    for key in sorted(images.files.keys() | masks.files.keys()):
        image, mask = images.files.get(key), masks.files.get(key)
        if image is None and mask is not None:
            reason = "there is no image of its name"
            yield Skipped(source.where(mask.name), reason, "mask without image", data_set)
        elif mask is None and image is not None:
            reason = "there is no mask of its name"
            yield Skipped(source.where(image.name), reason, "image without mask", data_set)
        elif image is not None and mask is not None:
            yield Pair(*key, image, mask)


class _Side:
    """The images or the masks, by folder and name."""

    def __init__(self, ending: str) -> None:
        self._ending = ending
        self.files: dict[tuple[str, str], Entry] = {}

    def add(self, path: PurePosixPath, entry: Entry) -> Entry:
        """Return the file that has the name: this one, if it is the first."""
        above = path.parent.parent.as_posix()
        key = ("" if above == "." else above, path.stem.removesuffix(self._ending))
        return self.files.setdefault(key, entry)


@dataclass(frozen=True, slots=True)
class ObjectRule:
    """How the objects of a grey mask are found.

    Args:
        foreground_from: grey value, 1..255, from which a pixel is foreground.
        smallest: below which a component is left out; None: none is.
        accepts_binary: take the files whose largest value is 1 for 0 and 1, whatever the threshold.
    """

    foreground_from: int
    smallest: SmallestObject | None = None
    accepts_binary: bool = False

    def foreground(self, grey: np.ndarray) -> np.ndarray:
        """Return ``(H, W)`` bool where a uint8 mask has foreground."""
        binary = self.accepts_binary and grey.max(initial=0) <= 1
        found: np.ndarray = grey >= (1 if binary else self.foreground_from)
        return found


def pair_samples(
    source: Source,
    layout: PairLayout,
    rule: ObjectRule,
    *,
    data_set: str,
    modality: str,
    label: Callable[[Pair], str],
    case: Callable[[Pair], str],
) -> Iterator[RawSample | Skipped]:
    """Yield the images of a release that have a mask, after what cannot be used.

    Args:
        source: the release.
        layout: of it.
        rule: what an object is.
        data_set: its name, which ids begin with.
        modality: of its images.
        label: class of the objects of a pair.
        case: of a pair.

    Raises:
        DatasetNotFoundError: there is no image or no mask where the layout has them.
        BrokenInputError: the directory of the archive is damaged.
    """
    for pair in find_pairs(source, layout, data_set):
        if isinstance(pair, Skipped):
            yield pair
            continue
        objects = _PairMasks(source, pair.mask, label(pair), rule)
        yield RawSample(
            id=f"{data_set}/{pair.id}",
            image=ImageFile(source, pair.image),
            masks=LazyMasks(objects, source.where(pair.mask.name)),
            modality=modality,
            source=data_set,
            case=case(pair),
            path=source.where(pair.image.name),
        )


@dataclass(frozen=True, slots=True)
class _PairMasks:
    source: Source
    entry: Entry
    label: str
    rule: ObjectRule

    def __call__(self) -> list[NamedMask]:
        """Return the objects; what is wrong or left out is a mask that says so when called."""
        path = self.source.where(self.entry.name)
        try:
            grey = read_grey(path, read_file(self.source, self.entry))
        except BrokenInputError as error:
            return [_unusable(error)]
        components = Components.of(self.rule.foreground(grey))
        if not len(components):
            reason = f"no pixel is foreground (from {self.rule.foreground_from} on); the largest "
            reason += f"value is {grey.max()}"
            return [_unusable(BrokenInputError(path, reason, "empty mask"))]
        smallest = self.rule.smallest
        kept = np.arange(len(components))
        if smallest is not None:
            kept = np.flatnonzero(smallest.keeps(components.areas, grey.size))
        masks = [
            NamedMask(self.label, ComponentMask(components, index), f"{path}[{index}]", index)
            for index in kept.tolist()
        ]
        if left_out := len(components) - len(kept):
            reason = f"{left_out} of its {len(components)} objects cover {smallest} of the image"
            masks.append(_unusable(BrokenInputError(path, reason, "object too small")))
        return masks


def _unusable(error: BrokenInputError) -> NamedMask:
    return NamedMask("", Unusable(error), error.path)
