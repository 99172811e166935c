"""What a data plugin hands over, and what a row of a prepared table is.

Plain data that knows no file format: the contract between ``datamodules/*`` and ``data``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

UNKNOWN_KIND = "other"
"""Kind of what was skipped for a reason that its plugin gave no kind."""


@dataclass(frozen=True, slots=True, eq=False)
class CroppedMask:
    """A mask of which only a box is kept; all beside the box is background.

    For images of many small objects, of which whole masks would take hours to make.

    Args:
        shape: height and width of the mask.
        top, left: where the box begins.
        pixels: ``(h, w)`` bool inside the box.

    Raises:
        ValueError: the box leaves the mask.
    """

    shape: tuple[int, int]
    top: int
    left: int
    pixels: np.ndarray

    def __post_init__(self) -> None:
        corner = self.top + self.pixels.shape[0], self.left + self.pixels.shape[1]
        if min(self.top, self.left) < 0 or corner[0] > self.shape[0] or corner[1] > self.shape[1]:
            raise ValueError(f"a box from {self.top}, {self.left} to {corner} leaves {self.shape}")

    def whole(self) -> np.ndarray:
        """Return ``(H, W)`` bool."""
        mask = np.zeros(self.shape, dtype=bool)
        height, width = self.pixels.shape
        mask[self.top : self.top + height, self.left : self.left + width] = self.pixels
        return mask


Loadable = np.ndarray | str | os.PathLike[str] | Callable[[], np.ndarray | CroppedMask]
"""Pixels, the path of an image file, or a picklable function that returns pixels when called.

Functions of masks may return a :class:`CroppedMask`.

Paths and functions are resolved during conversion, where a failure becomes a listed skip instead
of the end of the run.
"""


@dataclass(frozen=True, slots=True)
class NamedMask:
    """One object of an image.

    Args:
        label: class name, for example ``"liver"``.
        mask: ``(H, W)``; any non-zero pixel is foreground. See :data:`Loadable`.
        path: where the mask comes from, for the conversion report; taken from ``mask`` if that is
            a path.
        instance: number that tells objects of one class on one image apart.
        files: what has to be read for it, where that is not ``path``; see :class:`LazyMasks`.
    """

    label: str
    mask: Loadable
    path: str = ""
    instance: int = 0
    files: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.path and isinstance(self.mask, (str, os.PathLike)):
            object.__setattr__(self, "path", os.fspath(self.mask))


class LazyMasks(Sequence[NamedMask]):
    """Masks of which only their reading tells how many there are.

    For releases in which one file holds all masks of an image: reading it while samples are listed
    would read the whole release in one process. It counts as true without being loaded; all else
    loads it once, and pickling leaves out what was loaded.

    Args:
        load: picklable; gives the masks. What it cannot read it gives as masks that raise
            :class:`~syncsam_lightning.errors.BrokenInputError` when they are called.
        path: where the masks come from; tells them from those of other images.
        files: what has to be read for them; by default ``path``. When one of these was written anew
            since, rows that an interrupted conversion made of them are made again.
    """

    def __init__(
        self, load: Callable[[], Sequence[NamedMask]], path: str, files: Sequence[str] = ()
    ) -> None:
        self._load = load
        self.path = path
        self.files = tuple(files) or (path,)
        self._masks: tuple[NamedMask, ...] | None = None

    def __reduce__(self) -> tuple[type[LazyMasks], tuple[Any, str, tuple[str, ...]]]:
        return type(self), (self._load, self.path, self.files)

    def _loaded(self) -> tuple[NamedMask, ...]:
        if self._masks is None:
            self._masks = tuple(self._load())
        return self._masks

    def __bool__(self) -> bool:
        return True

    def __len__(self) -> int:
        return len(self._loaded())

    @overload
    def __getitem__(self, index: int) -> NamedMask: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[NamedMask, ...]: ...
    def __getitem__(self, index: int | slice) -> NamedMask | tuple[NamedMask, ...]:
        return self._loaded()[index]


@dataclass(frozen=True, slots=True)
class RawSample:
    """One image with its masks, as a plugin's ``records`` yields it.

    Args:
        id: unique within the data set and stable between runs; seeds everything random about the
            image.
        image: ``(H, W)``, ``(H, W, 1)`` or ``(H, W, 3)`` RGB, uint8. See :data:`Loadable`.
        masks: the objects on it, possibly :class:`LazyMasks`. An image without masks is listed as
            skipped, not lost in silence.
        modality: for example ``"ct"``, ``"mr"``, ``"x_ray"``.
        source: the data set that the image was first published in.
        case: patient or volume. A split by case never draws images of one onto two sides.
        slice: position within the case, or ``""``.
        split: ``"train"``, ``"val"`` or ``"test"`` where the release has an official split, else
            ``None`` and the datamodule draws one.
        path: where the image comes from, for the report; taken from ``image`` if that is a path.
        files: what has to be read for the image, where that is not ``path``; see
            :class:`LazyMasks`.
    """

    id: str
    image: Loadable
    masks: Sequence[NamedMask]
    modality: str
    source: str
    case: str
    slice: str = ""
    split: Split | None = None
    path: str = ""
    files: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.path and isinstance(self.image, (str, os.PathLike)):
            object.__setattr__(self, "path", os.fspath(self.image))


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something of a release that could not be used; becomes one line of ``skipped.jsonl``.

    Plugins yield it from ``records`` for what they find out themselves (an index entry without a
    file); the conversion adds what it finds (empty masks, shapes that differ, unreadable files).

    Args:
        path: the file, or what else tells it from all others.
        reason: what is wrong with it, in one clause; may hold numbers and names.
        kind: what all cases of the same trouble have in common, by which the report counts. Too
            many of those in :data:`syncsam_lightning.errors.LOST` stop a conversion.
        source: the data set that it belongs to, ``""`` where that is not known.
    """

    path: str
    reason: str
    kind: str = UNKNOWN_KIND
    source: str = ""


@dataclass(frozen=True, slots=True)
class PublishedCounts:
    """How large others found a release to be.

    Args:
        where: it was published.
        counts: images and masks of each modality, None for what was not told.
    """

    where: str
    counts: Mapping[str, tuple[int | None, int | None]]


@dataclass(frozen=True, slots=True)
class DatasetCard:
    """What a user should know about a data set before using it.

    Args:
        name: the data set's own name.
        description: one or two sentences.
        homepage: where to get it.
        license: licence of the data, as its owners state it.
        citation: how the owners wish to be cited, or ``""``.
        modalities: modalities it contains.
        layout: the folder layout that ``records`` expects, one line per entry.
        published: counts to compare a prepared table with.
    """

    name: str
    description: str
    homepage: str = ""
    license: str = ""
    citation: str = ""
    modalities: Sequence[str] = ()
    layout: Sequence[str] = ()
    published: PublishedCounts | None = None


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One decoded row of a prepared table.

    Args:
        id: see :class:`RawSample`.
        image: ``(h, w, 3)`` RGB or ``(h, w, 1)`` grey, uint8, at the stored resolution.
        masks: ``(n, h, w)`` bool at the stored resolution.
        height, width: size of the original image in pixels.
        labels: class name of each mask.
        boxes: ``(n, 4)`` float32, tight ``x0, y0, x1, y1`` in original pixels, half open
            (``x1 - x0`` is the width).
        areas: ``(n,)`` int64, foreground pixels at the original resolution.
        mask_ids: ``(n,)`` int64; number of each mask within the original row, which stays the same
            when masks are drawn, filtered or reordered.
        modality, source, case, slice, split: see :class:`RawSample`.
    """

    id: str
    image: np.ndarray
    masks: np.ndarray
    height: int
    width: int
    labels: tuple[str, ...]
    boxes: np.ndarray
    areas: np.ndarray
    mask_ids: np.ndarray
    modality: str
    source: str
    case: str
    slice: str
    split: Split

    @property
    def num_masks(self) -> int:
        """Number of objects on the image."""
        return len(self.labels)
