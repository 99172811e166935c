"""Labels of volumes, from whatever a mask file is: a label map, one object, named segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

import numpy as np

from syncsam_lightning.data.label_maps import LabelRule
from syncsam_lightning.data.label_volumes import LabelReader, Labels, WholeLabels
from syncsam_lightning.data.mask_layout import MaskFile, split_name
from syncsam_lightning.data.readers import IMAGE_SUFFIXES, read_values
from syncsam_lightning.data.volume_files import VolumeFile
from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes import Volume
from syncsam_lightning.volumes.itk_files import is_itk, read_itk_stored, read_segments
from syncsam_lightning.volumes.itk_header import Segment
from syncsam_lightning.volumes.place import spread
from syncsam_lightning.volumes.reading import is_volume_file
from syncsam_lightning.volumes.segmentation_reading import (
    SegmentMasks,
    read_segment_masks,
    read_segment_names,
)


@dataclass(frozen=True, slots=True)
class _LayerLabels:
    """Reads the label map of one layer of a segmentation of 3D Slicer.

    It may be cropped to what is drawn, which its position tells.
    """

    path: str
    layer: int
    image: VolumeFile
    rule: LabelRule
    holds_one: bool

    def __call__(self) -> Volume:
        volume = read_itk_stored(self.path, layer=self.layer)
        labels = self.rule.labels(volume.voxels, self.path)
        check = self.rule.only_value if self.holds_one else self.rule.values
        check(labels, self.path)
        return spread(replace(volume, voxels=labels), self.image.header(), self.path)


@dataclass(frozen=True, slots=True)
class _SegmentLabels:
    """Reads one segment of a DICOM SEG, as labels of its number."""

    path: str
    image: VolumeFile
    segment: int

    def __call__(self) -> Volume:
        mask = _segment_masks(self.path, self.image).mask(self.segment)
        return Volume(mask.view(np.uint8), self.image.header().affine)


@dataclass(frozen=True, slots=True)
class _PictureLabels:
    """Reads a picture as labels of a volume of a single slice, pixel by pixel as it is stored."""

    path: str
    image: VolumeFile
    rule: LabelRule
    holds_one: bool

    def __call__(self) -> Volume:
        labels = self.rule.labels(read_values(self.path), self.path)
        check = self.rule.only_value if self.holds_one else self.rule.values
        check(labels, self.path)
        place = self.image.header()
        if (shape := (*labels.T.shape, 1)) != place.shape:
            reason = f"has shape {shape}, its image {place.shape}"
            raise BrokenInputError(self.path, reason, "shape mismatch")
        return Volume(labels.T[..., None], place.affine)


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """Stands for the labels of a file whose header is damaged."""

    error: BrokenInputError

    def __call__(self) -> Volume:
        raise self.error


@lru_cache(maxsize=1)
def _segment_masks(path: str, image: VolumeFile) -> SegmentMasks:
    return read_segment_masks(Path(path), image.header())


def forget() -> None:
    """Forget what was read: the files of another run of the same process may be mended ones."""
    _segment_masks.cache_clear()


def mask_labels(file: MaskFile, image: VolumeFile, rule: LabelRule) -> list[Labels]:
    """Return what a mask file says about a volume, without reading its voxels.

    Args:
        file: a volume; a picture or a DICOM SEG, too.
        image: that it belongs to.
        rule: what its values become. Where it names none, the names count that the file itself has
            for its objects (3D Slicer's ``.seg.nrrd``, DICOM SEG).

    Returns:
        one for each label map. A file whose header is damaged gives one that says so when read.
    """
    path, place = str(file.path), file.path
    holds_one = file.label is not None
    try:
        if split_name(place)[1] in IMAGE_SUFFIXES:
            return [_labels(file, _PictureLabels(path, image, rule, holds_one), rule)]
        if is_itk(place) and (segments := read_segments(place)):
            return _of_slicer(file, image, segments, rule)
        if is_volume_file(place):
            return [_labels(file, WholeLabels(VolumeFile(path), rule, holds_one), rule)]
        return _of_dicom_seg(file, image, rule)
    except BrokenInputError as error:
        return [Labels(_Unreadable(error), path, rule.name)]


def _of_slicer(
    file: MaskFile, image: VolumeFile, segments: Sequence[Segment], rule: LabelRule
) -> list[Labels]:
    layers = sorted({one.layer for one in segments})
    _check_one(file, len(layers))
    found = []
    for layer in layers:
        of_layer = rule
        if rule.instance_label is None:
            names = {one.value: one.name for one in segments if one.layer == layer}
            # A value may mean something else in another layer, which label_names can't say.
            names |= rule.names if len(layers) == 1 else {}
            of_layer = replace(rule, names=names)
        read = _LayerLabels(str(file.path), layer, image, of_layer, file.label is not None)
        found.append(_labels(file, read, of_layer))
    return found


def _of_dicom_seg(file: MaskFile, image: VolumeFile, rule: LabelRule) -> list[Labels]:
    names = read_segment_names(file.path)
    _check_one(file, len(names))
    found = []
    for number, name in sorted(names.items()):
        label, instance = _object_of(rule.names.get(number, name))
        one = file if file.label is not None else replace(file, label=label, instance=instance)
        found.append(_labels(one, _SegmentLabels(str(file.path), image, number), rule))
    return found


def _check_one(file: MaskFile, count: int) -> None:
    if file.label is not None and count > 1:
        raise BrokenInputError(
            str(file.path),
            f"its name says that it holds one object, but it has {count} segments or layers",
            "several objects",
        )


def _object_of(segment: str) -> tuple[str, int]:
    """Return label and number of an object, of which ``syncsam predict`` makes ``cyst--2``."""
    label, dashes, number = segment.rpartition("--")
    return (label, int(number)) if dashes and number.isdecimal() else (segment, 0)


def _labels(file: MaskFile, read: LabelReader, rule: LabelRule) -> Labels:
    path = str(file.path)
    if file.label is None:
        number: Literal["value", 0] = 0 if rule.instance_label is None else "value"
        return Labels(read, path, rule.name, instance=number)
    return Labels(read, path, partial(_given, label=file.label), instance=file.instance)


def _given(value: int, label: str) -> str:
    return label
