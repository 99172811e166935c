"""Slices of labelled volumes, of which each labelled region or component is an object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from syncsam_lightning.data import label_volumes, mask_labels, volume_files
from syncsam_lightning.data.components import ComponentMask
from syncsam_lightning.data.conversion.units import Unit, cut_units, identify_files
from syncsam_lightning.data.conversion.workbench import Outcome, Workbench
from syncsam_lightning.data.label_volumes import (
    Labels,
    LabelStacks,
    SliceRule,
    find_objects,
)
from syncsam_lightning.data.source_files import Unusable
from syncsam_lightning.data.volume_files import VolumeFile
from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.records import LazyMasks, NamedMask, RawSample, Skipped, Split
from syncsam_lightning.volumes import Volume, Window

SURVEY = "survey"
_LARGEST_UNIT, _UNITS = 16, 64


@dataclass(frozen=True, slots=True)
class LabelledVolume:
    """A volume with its labels.

    Args:
        id: unique within the release.
        case: the patient.
        image: the volume.
        labels: of one or several raters, or files of one object each.
        modality, source, split: see :class:`~syncsam_lightning.records.RawSample`.
    """

    id: str
    case: str
    image: VolumeFile
    labels: Sequence[Labels]
    modality: str
    source: str
    split: Split | None = None


@dataclass(slots=True)
class Slicer:
    """Turns volumes into samples, one for each slice with an object.

    Which slices those are is found by reading the labels; images are read for rows only. A
    conversion asks for samples twice, and reads the labels once, in its workers: see
    :func:`surveyed`.

    Args:
        rule: how to cut.
        positions: slices with objects by id of the volume, of volumes whose labels were read
            before and what was found about them told.
    """

    rule: SliceRule
    positions: dict[str, Sequence[int]] = field(default_factory=dict)

    def samples(self, volume: LabelledVolume) -> Iterator[RawSample | Skipped]:
        """Yield the slices from the first to the last, after what is left out of them."""
        positions = self.positions.get(volume.id)
        if positions is None:
            survey = _survey(volume, self.rule)
            yield from survey.skipped
            positions = survey.positions
        paths = " and ".join(dict.fromkeys(labels.path for labels in volume.labels))
        files = _label_files(volume)
        stacks = LabelStacks(volume.labels, volume.image, self.rule)
        image_files = volume.image.files
        for position in positions:
            yield RawSample(
                id=f"{volume.id}/{position:04d}",
                image=_SliceImage(volume.image, position, self.rule),
                masks=LazyMasks(_SliceMasks(stacks, position), f"{paths}[{position}]", files),
                modality=volume.modality,
                source=volume.source,
                case=volume.case,
                slice=f"{position:04d}",
                split=volume.split,
                path=f"{volume.image.path}[{position}]",
                files=image_files,
            )


def surveyed(bench: Workbench, volumes: Iterable[LabelledVolume], rule: SliceRule) -> Slicer:
    """Read the labels of volumes in the workers of a conversion; a resumable stage.

    Args:
        bench: where to.
        volumes: all that will be sliced.
        rule: how to cut.

    Returns:
        what slices them without reading labels again; what was left out stands in the report.
    """
    label_volumes.forget()
    mask_labels.forget()
    volume_files.forget()
    wanted = list(volumes)
    slicer = Slicer(rule)
    if not wanted:
        return slicer
    size = bench.options.unit_size or max(1, min(_LARGEST_UNIT, len(wanted) // _UNITS))
    bench.run(
        SURVEY,
        cut_units(wanted, _identify, size),
        _SurveyUnit(rule),
        total=len(wanted),
        items="volumes",
        workers=-(-len(wanted) // size),
    )
    for state in bench.states(SURVEY):
        slicer.positions.update(state.result["positions"])
    return slicer


def _identify(volume: LabelledVolume) -> Iterator[object]:
    yield from (volume.id, volume.source)
    yield from (labels.path for labels in volume.labels)
    yield from identify_files((*volume.image.files, *_label_files(volume)))


def _label_files(volume: LabelledVolume) -> list[str]:
    files = (file for labels in volume.labels for file in labels.files or (labels.path,))
    return list(dict.fromkeys(files))


@dataclass(frozen=True, slots=True)
class _SurveyUnit:
    rule: SliceRule

    def __call__(self, unit: Unit) -> Outcome:
        positions: dict[str, list[int]] = {}
        skipped: list[Skipped] = []
        for volume in unit.items():
            survey = _survey(volume, self.rule)
            positions[volume.id] = [*survey.positions]
            skipped += survey.skipped
        return Outcome({"positions": positions}, skipped)


@dataclass(frozen=True, slots=True)
class _Survey:
    positions: Sequence[int]
    skipped: Sequence[Skipped]


def _survey(volume: LabelledVolume, rule: SliceRule) -> _Survey:
    """Find the slices with objects."""
    positions: set[int] = set()
    skipped: list[Skipped] = []
    depth = 0
    try:
        if reason := volume.image.left_out():
            kind = "no image of a series"
            skipped.append(Skipped(volume.image.path, reason, kind, volume.source))
        volume.image.header()
    except BrokenInputError as error:
        skipped.append(Skipped(error.path, error.reason, error.kind, volume.source))
        return _Survey((), skipped)
    for labels in volume.labels:
        try:
            stack = label_volumes.read_stack(labels, volume.image, rule)
        except BrokenInputError as error:
            skipped.append(Skipped(error.path, error.reason, error.kind, volume.source))
            continue
        depth = stack.shape[0]
        small = strange = 0
        values: set[int] = set()
        for position in stack.labelled:
            found = find_objects(stack[position], labels, rule)
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


@dataclass(frozen=True, slots=True)
class _SliceImage:
    """Reads a slice as ``(H, W)`` uint8 when called."""

    file: VolumeFile
    position: int
    rule: SliceRule

    def __call__(self) -> np.ndarray:
        volume = self.file()
        values = volume.values(self.rule.stack(volume)[self.position])
        pixels = _fitted(self.rule.window, volume).grey(values)
        if self.rule.window.is_per_slice and values.min() == values.max():
            # The predecessor divides by zero here, so there is nothing to repeat.
            reason = f"all its pixels are {pixels.max()} (values {values.min():g} to "
            reason += f"{values.max():g})"
            path = f"{self.file.path}[{self.position}]"
            raise BrokenInputError(path, reason, "constant slice")
        return np.ascontiguousarray(pixels)


@lru_cache(maxsize=1)
def _fitted(window: Window, volume: Volume) -> Window:
    """Return the window in values of a volume, of which the numbers as stored are looked at."""
    fitted = window.fitted(volume.voxels)
    if fitted is window or fitted.low is None or fitted.high is None:
        return fitted
    low, high = sorted(volume.values(np.array([fitted.low, fitted.high])).tolist())
    return replace(fitted, low=low, high=high)


@dataclass(frozen=True, slots=True)
class _SliceMasks:
    """Finds the objects of a slice when called; what the survey listed is left out."""

    stacks: LabelStacks
    position: int

    def __call__(self) -> list[NamedMask]:
        masks: list[NamedMask] = []
        numbers: Counter[str] = Counter()
        rule = self.stacks.rule
        for labels, stack in zip(self.stacks.labels, self.stacks(), strict=True):
            path = f"{labels.path}[{self.position}]"
            if isinstance(stack, BrokenInputError):
                masks.append(NamedMask("", Unusable(stack), path))
                continue
            found = find_objects(stack[self.position], labels, rule)
            for name, value, components, index in found.objects:
                number = numbers[name]
                numbers[name] += 1
                if labels.instance is not None and not rule.by_component:
                    number = value if labels.instance == "value" else labels.instance
                drawn = ComponentMask(components, index)
                masks.append(NamedMask(name, drawn, f"{path}[{name} {number}]", number))
        return masks
