"""The masks of a picture: label maps, and files of one object."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from syncsam_lightning.data.label_maps import LabelRule
from syncsam_lightning.data.mask_layout import MaskFile
from syncsam_lightning.data.readers import read_values
from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.records import NamedMask, Skipped


def picture_masks(files: Sequence[MaskFile], rule: LabelRule) -> Iterator[NamedMask | Skipped]:
    """Yield the masks that files of a picture hold.

    Args:
        files: of the picture.
        rule: what their values mean.

    Yields:
        masks; what can't be read of label maps, which have to be read to tell how many.
    """
    for file in files:
        name = str(file.path)
        if file.label is not None:
            yield NamedMask(file.label, _OneObject(file.path, rule), name, file.instance)
            continue
        try:
            labels = rule.labels(read_values(file.path), name)
            for value in rule.values(labels, name):
                drawn, path = _ValueOf(labels, value), f"{name}[{value}]"
                yield NamedMask(rule.name(value), drawn, path, files=(name,))
        except BrokenInputError as error:
            yield Skipped(error.path, error.reason, error.kind)


@dataclass(frozen=True, slots=True)
class _ValueOf:
    """Draws one value of a label map when called; the map is decoded once for all of them."""

    labels: np.ndarray
    value: int

    def __call__(self) -> np.ndarray:
        return np.asarray(self.labels == self.value)


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
