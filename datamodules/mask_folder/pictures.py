"""The masks of a picture: label maps, and files of one object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from syncsam_lightning.data.label_maps import LabelRule
from syncsam_lightning.data.mask_layout import MaskFile
from syncsam_lightning.data.readers import read_values
from syncsam_lightning.data.source_files import Unusable
from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.records import CroppedMask, NamedMask, Skipped


def picture_masks(mask_files: Sequence[MaskFile], rule: LabelRule) -> Iterator[NamedMask | Skipped]:
    """Yield the masks that files of a picture hold.

    Args:
        mask_files: of the picture.
        rule: what their values mean.

    Yields:
        masks; what can't be read of label maps, which have to be read to tell how many.
    """
    for file in mask_files:
        name = str(file.path)
        if file.label is not None:
            yield NamedMask(file.label, _OneObject(file.path, rule), name, file.instance)
            continue
        try:
            labels = rule.labels(read_values(file.path), name)
            files = (name,)
            for value, box in rule.objects(labels, name):
                drawn, path = _ValueOf(labels, value, box), f"{name}[{value}]"
                number = 0 if rule.instance_label is None else value
                yield NamedMask(rule.name(value), drawn, path, number, files)
        except BrokenInputError as error:
            yield Skipped(error.path, error.reason, error.kind)


@dataclass(frozen=True, slots=True)
class _ValueOf:
    """Draws one value of a label map when called; the map is decoded once for all of them."""

    labels: np.ndarray
    value: int
    box: tuple[slice, ...]

    def __call__(self) -> CroppedMask:
        rows, columns = self.box
        pixels = self.labels[rows, columns] == self.value
        height, width = self.labels.shape
        return CroppedMask((height, width), rows.start, columns.start, pixels)


@dataclass(frozen=True, slots=True)
class PictureMasks:
    """Reads the masks of a picture when called, as :class:`~syncsam_lightning.records.LazyMasks`.

    Args:
        files: of the picture.
        rule: what their values mean.
    """

    files: Sequence[MaskFile]
    rule: LabelRule

    def __call__(self) -> list[NamedMask]:
        """Return the masks; what can't be read says so when it is drawn."""
        return [
            _to_be_listed(found) if isinstance(found, Skipped) else found
            for found in picture_masks(self.files, self.rule)
        ]


def _to_be_listed(skip: Skipped) -> NamedMask:
    error = BrokenInputError(skip.path, skip.reason, skip.kind)
    return NamedMask("", Unusable(error), skip.path)


@dataclass(frozen=True, slots=True)
class _OneObject:
    """Reads a file that holds one object when called."""

    path: Path
    rule: LabelRule

    def __call__(self) -> np.ndarray:
        name = str(self.path)
        labels = self.rule.labels(read_values(self.path), name)
        self.rule.only_value(labels, name)
        return np.asarray(labels != 0)
