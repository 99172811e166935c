"""Slices of labelled volumes, of which each labelled region or component is an object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import numpy as np

from syncsam_lightning.data.components import ComponentMask, Components, SmallestObject
from syncsam_lightning.data.intensity import Intensity, to_grey
from syncsam_lightning.data.nifti import VolumeFile
from syncsam_lightning.data.source_files import Unusable
from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.records import LazyMasks, NamedMask, RawSample, Skipped
from syncsam_lightning.volumes import Volume

_MAX_LABEL = 255


@dataclass(frozen=True, slots=True)
class SliceRule:
    """How slices are cut, and what their objects are.

    Args:
        intensity: how values become grey.
        smallest: below which an object is left out.
        by_component: whether each component is an object, or all that has a label.
        upright: cut axial slices and show them as radiologists do (front up, the patient's right
            on the left); else cut along the third axis as stored and turn nothing.
    """

    intensity: Intensity
    smallest: SmallestObject
    by_component: bool
    upright: bool

    def plane(self, volume: Volume, position: int) -> np.ndarray:
        """Return ``(H, W)`` of a volume, as stored."""
        if not self.upright:
            return np.ascontiguousarray(volume.voxels[:, :, position])
        return np.ascontiguousarray(volume.oriented("RAS").voxels[::-1, ::-1, position].T)

    def depth(self, volume: Volume) -> int:
        """Return the number of slices."""
        return int((volume.oriented("RAS") if self.upright else volume).voxels.shape[2])


class LabelReader(Hashable, Protocol):
    """Reads labels: whole numbers 0..255 as uint8, 0 is background. Picklable."""

    def __call__(self) -> Volume:
        """Return the labels.

        Raises:
            BrokenInputError: they cannot be had.
        """
        ...


@dataclass(frozen=True, slots=True)
class LabelFile:
    """Labels as a file has them; those stored as floating-point numbers are rounded.

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
            values = np.rint(volume.values(volume.voxels[:, :, position]))
            low, high = values.min(), values.max()
            if low < 0 or high > _MAX_LABEL:
                reason = f"is no label map: values of plane {position} go from {low:g} to {high:g}"
                raise BrokenInputError(self.file.path, reason, "not a label map")
            labels[:, :, position] = values
        return Volume(labels, volume.affine)


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of a volume and what they mean.

    Args:
        read: gives them.
        path: where they come from, for reports.
        names: class of each value; what has none is listed.
        unused: values that are left out by rule.
    """

    read: LabelReader
    path: str
    names: Mapping[int, str]
    unused: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class LabelledVolume:
    """A volume with its labels.

    Args:
        id: unique within the release.
        case: the patient.
        image: the volume.
        labels: of one or several raters.
        modality, source: see :class:`~syncsam_lightning.records.RawSample`.
    """

    id: str
    case: str
    image: VolumeFile
    labels: Sequence[Labels]
    modality: str
    source: str


@dataclass(slots=True)
class Slicer:
    """Turns volumes into samples, one for each slice with an object.

    Which slices those are is found by reading the labels, which is done once, though samples are
    asked for twice (see :meth:`PromptableDataModule.records`); images are read for rows only.

    Args:
        rule: how to cut.
    """

    rule: SliceRule
    _surveys: dict[tuple[str, ...], _Survey] = field(default_factory=dict)

    def samples(self, volume: LabelledVolume) -> Iterator[RawSample | Skipped]:
        """Yield the slices from the first to the last, after what is left out of them."""
        key = (volume.image.path, *(labels.path for labels in volume.labels))
        if key not in self._surveys:
            self._surveys[key] = _survey(volume, self.rule)
        survey = self._surveys[key]
        yield from survey.skipped
        paths = " and ".join(labels.path for labels in volume.labels)
        for position in survey.positions:
            place = f"{paths}[{position}]"
            yield RawSample(
                id=f"{volume.id}/{position:04d}",
                image=_SliceImage(volume.image, position, self.rule),
                masks=LazyMasks(_SliceMasks(volume.labels, position, self.rule), place),
                modality=volume.modality,
                source=volume.source,
                case=volume.case,
                slice=f"{position:04d}",
                path=f"{volume.image.path}[{position}]",
            )


@dataclass(frozen=True, slots=True)
class _Survey:
    positions: Sequence[int]
    skipped: Sequence[Skipped]


def _survey(volume: LabelledVolume, rule: SliceRule) -> _Survey:
    """Find the slices with objects."""
    positions: set[int] = set()
    skipped: list[Skipped] = []
    depth = 0
    for labels in volume.labels:
        try:
            voxels = labels.read()
            _check_place(volume.image, voxels, labels.path, same_space=rule.upright)
        except BrokenInputError as error:
            skipped.append(Skipped(error.path, error.reason, error.kind, volume.source))
            continue
        depth = rule.depth(voxels)
        small = strange = 0
        values: set[int] = set()
        for position in range(depth):
            found = _find_objects(rule.plane(voxels, position), labels, rule)
            small += found.small
            strange += bool(found.unknown)
            values |= found.unknown
            if found.objects:
                positions.add(position)
        if small:
            reason = f"{small} objects cover {rule.smallest} of their slice"
            skipped.append(Skipped(labels.path, reason, "object too small", volume.source))
        if values:
            reason = f"the values {sorted(values)}, on {strange} slices, have no name"
            skipped.append(Skipped(labels.path, reason, "unknown label value", volume.source))
    if depth and len(positions) < depth:
        reason = f"{depth - len(positions)} of its {depth} slices carry no object"
        skipped.append(Skipped(volume.image.path, reason, "slice without object", volume.source))
    return _Survey(sorted(positions), skipped)


def _check_place(image: VolumeFile, labels: Volume, path: str, *, same_space: bool) -> None:
    shape, affine = image.header()
    if labels.voxels.shape != shape:
        raise BrokenInputError(
            path, f"has shape {labels.voxels.shape}, its image {shape}", "shape mismatch"
        )
    if same_space and not np.allclose(labels.affine, affine, atol=1e-2):
        raise BrokenInputError(path, "lies elsewhere in space than its image", "place mismatch")


@dataclass(slots=True)
class _Found:
    """What a slice has of one rater's labels.

    Args:
        objects: class, components of the class, and which of them is the object.
        small: how many are left out for their size.
        unknown: values without a name.
    """

    objects: list[tuple[str, Components, int]] = field(default_factory=list)
    small: int = 0
    unknown: set[int] = field(default_factory=set)


def _find_objects(plane: np.ndarray, labels: Labels, rule: SliceRule) -> _Found:
    found = _Found()
    if not plane.any():
        return found
    split: Callable[[np.ndarray], Components] = (
        Components.of if rule.by_component else Components.whole
    )
    for value in np.flatnonzero(np.bincount(plane.ravel())).tolist():
        if value == 0 or value in labels.unused:
            continue
        if value not in labels.names:
            found.unknown.add(value)
            continue
        components = split(plane == value)
        kept = np.flatnonzero(rule.smallest.keeps(components.areas, plane.size)).tolist()
        found.objects += [(labels.names[value], components, index) for index in kept]
        found.small += len(components) - len(kept)
    return found


@dataclass(frozen=True, slots=True)
class _SliceImage:
    """Reads a slice as ``(H, W)`` uint8 when called."""

    file: VolumeFile
    position: int
    rule: SliceRule

    def __call__(self) -> np.ndarray:
        volume = self.file()
        values = volume.values(self.rule.plane(volume, self.position))
        pixels = to_grey(values, *self.rule.intensity.limits(values, volume))
        if pixels.min() == pixels.max():
            # The predecessor divides by zero here, so there is nothing to repeat.
            reason = f"all its pixels are {pixels.max()} (values {values.min():g} to "
            reason += f"{values.max():g})"
            path = f"{self.file.path}[{self.position}]"
            raise BrokenInputError(path, reason, "constant slice")
        return pixels


@dataclass(frozen=True, slots=True)
class _SliceMasks:
    """Finds the objects of a slice when called; what the survey listed is left out."""

    labels: Sequence[Labels]
    position: int
    rule: SliceRule

    def __call__(self) -> list[NamedMask]:
        masks: list[NamedMask] = []
        numbers: Counter[str] = Counter()
        for labels in self.labels:
            path = f"{labels.path}[{self.position}]"
            voxels = _kept(labels.read)
            if isinstance(voxels, BrokenInputError):
                masks.append(NamedMask("", Unusable(voxels), path))
                continue
            plane = self.rule.plane(voxels, self.position)
            for label, components, index in _find_objects(plane, labels, self.rule).objects:
                number = numbers[label]
                numbers[label] += 1
                drawn = ComponentMask(components, index)
                masks.append(NamedMask(label, drawn, f"{path}[{label} {number}]", number))
        return masks


@lru_cache(maxsize=3)
def _kept(reader: LabelReader) -> Volume | BrokenInputError:
    # As many as a volume has raters. A failure is kept too, see `VolumeFile`.
    try:
        return reader()
    except BrokenInputError as error:
        return error
