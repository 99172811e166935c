"""Labels of a volume, of one or several raters or files, and the objects of its slices."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, Protocol

import numpy as np
from scipy import ndimage

from syncsam_lightning.data.components import Components, SmallestObject
from syncsam_lightning.data.label_maps import LabelRule, boxes_of, whole_labels
from syncsam_lightning.data.volume_files import VolumeFile
from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.records import CroppedMask
from syncsam_lightning.volumes import Plane, Volume, Window, coarsest_plane, stack_of
from syncsam_lightning.volumes.place import aligned

_MAX_LABEL = 255


@dataclass(frozen=True, slots=True)
class SliceRule:
    """How slices are cut, and what their objects are.

    Args:
        window: how values become grey.
        plane: in which slices are cut, seen as :data:`~syncsam_lightning.volumes.PLANES` says;
            ``coarsest``: that of :func:`~syncsam_lightning.volumes.coarsest_plane`; ``stored``:
            along the third axis of the file, nothing turned, labels by shape alone (the
            predecessor's rule).
        smallest: below which an object is left out.
        by_component: whether each component is an object, or all that has a label.
    """

    window: Window
    plane: Plane | Literal["coarsest", "stored"] = "coarsest"
    smallest: SmallestObject = SmallestObject(0)  # noqa: RUF009 - frozen
    by_component: bool = False

    def stack(self, volume: Volume) -> np.ndarray:
        """Return ``(slices, rows, columns)`` of a volume, in the numbers of its voxels; a view."""
        if self.plane == "stored":
            return np.moveaxis(volume.voxels, 2, 0)
        plane = coarsest_plane(volume) if self.plane == "coarsest" else self.plane
        return stack_of(volume, plane)


class LabelReader(Hashable, Protocol):
    """Reads labels: whole numbers from 0 on of an unsigned type, 0 is background. Picklable."""

    def __call__(self) -> Volume:
        """Return the labels.

        Raises:
            BrokenInputError: they cannot be had.
        """
        ...


@dataclass(frozen=True, slots=True)
class LabelFile:
    """Labels 0..255 as a file has them, also where they are stored as floating-point numbers.

    Args:
        file: the file.
    """

    file: VolumeFile

    def __call__(self) -> Volume:
        """Return the labels.

        Raises:
            BrokenInputError: the file is damaged, or it holds what is no label.
        """
        volume = self.file.read()
        labels: np.ndarray = np.empty(volume.voxels.shape, dtype=np.uint8, order="F")
        # Plane by plane: passes over a whole volume of float64 would wait for memory.
        for position in range(labels.shape[2]):
            values = whole_labels(volume.values(volume.voxels[:, :, position]), self.file.path)
            low, high = values.min(), values.max()
            if low < 0 or high > _MAX_LABEL:
                reason = f"is no label map: values of plane {position} go from {low:g} to {high:g}"
                raise BrokenInputError(self.file.path, reason, "not a label map")
            labels[:, :, position] = values
        return Volume(labels, volume.affine)


@dataclass(frozen=True, slots=True)
class WholeLabels:
    """Labels of any size that a rule accepts.

    Args:
        file: the file.
        rule: what its values become.
        holds_one: whether the file is of one object, so that it may have one value beside 0.
    """

    file: VolumeFile
    rule: LabelRule
    holds_one: bool = False

    def __call__(self) -> Volume:
        """Return the labels.

        Raises:
            BrokenInputError: the file is damaged, or the rule refuses what it holds.
        """
        volume = self.file.read()
        labels = self.rule.labels(volume.values(), self.file.path)
        check = self.rule.only_value if self.holds_one else self.rule.values
        check(labels, self.file.path)
        kind = np.min_scalar_type(int(labels.max(initial=0)))
        return Volume(labels.astype(kind, copy=False), volume.affine)


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of a volume and what they mean.

    Args:
        read: gives them.
        path: where they come from, for reports.
        name: returns the class of a value, None for what has none, which is listed. Picklable.
        unused: values that are left out by rule.
        instance: number of the object among those of its class, where all that has a value is one
            object; ``value``: the value is its number; None: they are numbered on each slice.
        files: paths of all that is read for them; by default ``path``.
    """

    read: LabelReader
    path: str
    name: Callable[[int], str | None]
    unused: frozenset[int] = frozenset()
    instance: int | Literal["value"] | None = None
    files: Sequence[str] = ()


@dataclass(frozen=True, slots=True, eq=False)
class LabelStack:
    """Labels as slices, of which only the box of all that is labelled is kept.

    A case may come with a hundred files, one for each organ, that are needed together.

    Args:
        shape: ``(slices, rows, columns)``.
        corner: where the box begins.
        box: labels inside it.
    """

    shape: tuple[int, ...]
    corner: tuple[int, ...]
    box: np.ndarray

    @classmethod
    def of(cls, stack: np.ndarray) -> LabelStack:
        """Keep what is labelled of ``(slices, rows, columns)``."""
        found = ndimage.find_objects((stack != 0).view(np.uint8))
        if not found:
            return cls(stack.shape, (0, 0, 0), np.zeros((0, 0, 0), stack.dtype))
        return cls(stack.shape, tuple(part.start for part in found[0]), stack[found[0]].copy())

    def __getitem__(self, position: int) -> np.ndarray:
        """Return ``(rows, columns)`` of a slice."""
        plane = np.zeros(self.shape[1:], self.box.dtype)
        first, top, left = self.corner
        if 0 <= position - first < len(self.box):
            rows, columns = self.box.shape[1:]
            plane[top : top + rows, left : left + columns] = self.box[position - first]
        return plane

    @property
    def labelled(self) -> range:
        """The slices from the first to the last with a label."""
        return range(self.corner[0], self.corner[0] + len(self.box))


def read_stack(labels: Labels, image: VolumeFile, rule: SliceRule) -> LabelStack:
    """Read labels as slices of their image.

    Raises:
        BrokenInputError: they can't be read, or have another shape or place than the image.
    """
    volume = labels.read()
    place = image.header()
    if rule.plane != "stored":
        volume = aligned(volume, place, labels.path)
    elif volume.voxels.shape != place.shape:
        reason = f"has shape {volume.voxels.shape}, its image {place.shape}"
        raise BrokenInputError(labels.path, reason, "shape mismatch")
    return LabelStack.of(rule.stack(volume))


@dataclass(frozen=True, slots=True, eq=False)
class LabelStacks:
    """All labels of a volume, read once by a process for all of its slices.

    Args:
        labels: of the volume.
        image: that they belong to.
        rule: how to cut.
    """

    labels: Sequence[Labels]
    image: VolumeFile
    rule: SliceRule

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LabelStacks) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[Hashable, ...]:
        return self.image, self.rule, *((labels.read, labels.path) for labels in self.labels)

    def __call__(self) -> Sequence[LabelStack | BrokenInputError]:
        """Return the slices of each of the labels, or why it has none."""
        return _kept(self)


def forget() -> None:
    """Forget what was read: the files of another run of the same process may be mended ones."""
    _kept.cache_clear()


@lru_cache(maxsize=1)
def _kept(stacks: LabelStacks) -> Sequence[LabelStack | BrokenInputError]:
    # A failure is kept too: else a damaged file would be read again for each slice.
    found: list[LabelStack | BrokenInputError] = []
    for labels in stacks.labels:
        try:
            found.append(read_stack(labels, stacks.image, stacks.rule))
        except BrokenInputError as error:
            found.append(error)
    return found


@dataclass(slots=True)
class Found:
    """What a slice has of one rater's labels.

    Args:
        objects: class, value, components of the value, and which of them is the object.
        small: how many are left out for their size.
        unknown: values without a name.
    """

    objects: list[tuple[str, int, Components, int]] = field(default_factory=list)
    small: int = 0
    unknown: set[int] = field(default_factory=set)


def find_objects(plane: np.ndarray, labels: Labels, rule: SliceRule) -> Found:
    """Find the objects of a slice.

    Args:
        plane: ``(rows, columns)`` labels.
        labels: that they are of.
        rule: what an object is.
    """
    found = Found()
    split: Callable[[CroppedMask], Components] = (
        Components.of if rule.by_component else Components.whole
    )
    shape = plane.shape[0], plane.shape[1]
    for value, (rows, columns) in boxes_of(plane):
        if value in labels.unused:
            continue
        name = labels.name(value)
        if name is None:
            found.unknown.add(value)
            continue
        crop = CroppedMask(shape, rows.start, columns.start, plane[rows, columns] == value)
        components = split(crop)
        kept = np.flatnonzero(rule.smallest.keeps(components.areas, plane.size)).tolist()
        found.objects += [(name, value, components, index) for index in kept]
        found.small += len(components) - len(kept)
    return found
