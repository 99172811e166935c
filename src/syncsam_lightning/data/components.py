"""The connected components of a mask, and which are large enough to be objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import ndimage

from syncsam_lightning.data.cropping import tight
from syncsam_lightning.data.readers import resolve_crop
from syncsam_lightning.data.source_files import Unusable
from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.records import CroppedMask, LazyMasks, NamedMask

_EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True, slots=True)
class SmallestObject:
    """How much of its image an object has to cover.

    Args:
        share: of the image's pixels, 0..1.
        inclusive: whether exactly this much is enough.

    Raises:
        ValueError: ``share`` is out of range.
    """

    share: float
    inclusive: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ValueError(f"share must be at least 0 and below 1, got {self.share}")

    def keeps(self, areas: np.ndarray, num_pixels: int) -> np.ndarray:
        """Return which objects are large enough.

        Args:
            areas: ``(n,)`` pixels of each object.
            num_pixels: of the image.

        Returns:
            ``(n,)`` bool.
        """
        shares = areas / num_pixels
        kept: np.ndarray = shares >= self.share if self.inclusive else shares > self.share
        return kept

    def __str__(self) -> str:
        return f"{'less than' if self.inclusive else 'no more than'} {self.share:.4%}"


@dataclass(frozen=True, eq=False)  # no slots: it caches boxes
class Components:
    """The components of a mask, in the order in which rows of pixels meet them.

    Args:
        shape: height and width of the mask.
        top, left: where the tight box of all foreground begins; only that is kept.
        numbers: ``(h, w)`` int32 inside the box; 0 is background, component i has i + 1.
        areas: ``(n,)`` int64 pixels of each.
    """

    shape: tuple[int, int]
    top: int
    left: int
    numbers: np.ndarray
    areas: np.ndarray

    @classmethod
    def of(cls, mask: np.ndarray | CroppedMask) -> Components:
        """Find the 8-connected components.

        Args:
            mask: ``(H, W)`` bool, or a box of it.
        """
        crop = tight(mask)
        numbers, count = ndimage.label(crop.pixels, structure=_EIGHT_NEIGHBOURS)
        areas = np.bincount(numbers.ravel(), minlength=count + 1)[1:]
        return cls(crop.shape, crop.top, crop.left, numbers, areas)

    @classmethod
    def whole(cls, mask: np.ndarray | CroppedMask) -> Components:
        """Take all foreground for one component; none if there is no foreground.

        Args:
            mask: ``(H, W)`` bool, or a box of it.
        """
        crop = tight(mask)
        area = int(np.count_nonzero(crop.pixels))
        areas = np.array([area] if area else [], dtype=np.int64)
        return cls(crop.shape, crop.top, crop.left, crop.pixels.astype(np.int32), areas)

    @cached_property
    def _boxes(self) -> list[tuple[slice, slice]]:
        found: list[tuple[slice, slice]] = ndimage.find_objects(self.numbers)
        return found

    def __len__(self) -> int:
        return len(self.areas)

    def mask(self, index: int) -> CroppedMask:
        """Return where a component is."""
        rows, columns = self._boxes[index]
        pixels = self.numbers[rows, columns] == index + 1
        return CroppedMask(self.shape, self.top + rows.start, self.left + columns.start, pixels)


@dataclass(frozen=True, slots=True)
class ComponentMask:
    """Draws one component when called; the others share its map."""

    components: Components
    index: int

    def __call__(self) -> CroppedMask:
        """Return its box."""
        return self.components.mask(self.index)


def by_component(masks: Sequence[NamedMask], path: str) -> LazyMasks:
    """Make each component of masks an object; they are read when the first is asked for.

    Args:
        masks: of an image; those of one class are numbered anew.
        path: tells them from those of other images.

    Returns:
        the components. A mask that can't be read or is empty stays as it is, to be listed.
    """
    if isinstance(masks, LazyMasks):
        return LazyMasks(_EachComponent(masks), path, masks.files)
    files = [file for mask in masks for file in mask.files or (mask.path,) if file]
    return LazyMasks(_EachComponent(tuple(masks)), path, files)


@dataclass(frozen=True, slots=True)
class _EachComponent:
    masks: Sequence[NamedMask]

    def __call__(self) -> list[NamedMask]:
        found: list[NamedMask] = []
        numbers: Counter[str] = Counter()
        for named in self.masks:
            try:
                components = Components.of(resolve_crop(named.mask, named.path))
            except BrokenInputError as error:
                found.append(NamedMask(named.label, Unusable(error), named.path))
                continue
            if not len(components):
                found.append(named)
            for index in range(len(components)):
                number = numbers[named.label]
                numbers[named.label] += 1
                drawn, path = ComponentMask(components, index), f"{named.path}[{number}]"
                found.append(NamedMask(named.label, drawn, path, number))
        return found
