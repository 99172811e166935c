"""Which files of an archive a filter asks for, told by their names alone."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from syncsam_lightning.data.filter import FilterError, RowFilter
from syncsam_lightning.data.keys import holds
from syncsam_lightning.data.sources import Entry
from syncsam_lightning.records import Skipped
from syncsam_lightning.seeding import stable_key

from .index import Classes
from .names import SUFFIX, ImageName, MaskName, kind_of
from .rules import NEED_ALL_MASKS

_MOST_TOLD = 30


@dataclass(frozen=True, slots=True)
class NameSlice:
    """The images and masks that are asked for.

    Args:
        chosen: the filter.
        classes: names of classes.
        masked: int64, ascending keys of the images that have a mask, in the slice or not.
        labelled: the same of those that have one of a class that is asked for; None: every class.
        num_masks: how many masks are asked for.
    """

    chosen: RowFilter
    classes: Classes
    masked: np.ndarray
    labelled: np.ndarray | None
    num_masks: int = 0
    _outside: dict[tuple[str, str], bool] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        entries: Iterable[Entry | Skipped],
        chosen: RowFilter,
        classes: Classes,
        where: str,
    ) -> NameSlice:
        """Look through a directory.

        Args:
            entries: of the archive.
            chosen: the filter.
            classes: names of classes.
            where: the archive lies, for messages.

        Raises:
            FilterError: it leaves no image.
        """
        masked, labelled = array("q"), array("q")
        num_masks = 0
        groups: dict[tuple[str, str], bool] = {}
        labels: set[str] = set()
        for image, mask in _masks(entries):
            group = image.modality, image.source
            if group not in groups:
                groups[group] = chosen.keeps_group(*group)
            key = stable_key(mask.image)
            _append(masked, key)
            if groups[group]:
                label = classes.name(image.source, mask.class_id)
                labels.add(label)
                num_masks += chosen.keeps_label(label)
                if chosen.keeps_label(label):
                    _append(labelled, key)
        if not labelled:
            raise FilterError(
                f"data.filter ({chosen}) leaves no image of {where}; "
                f"{_there(chosen, groups, labels)}"
            )
        of_class = _unique(labelled) if chosen.restricts_labels else None
        return cls(chosen, classes, _unique(masked), of_class, num_masks)

    def has_image(self, stem: str) -> bool:
        """Whether an image is in the slice, by its name without ``.png``."""
        name = None if self._is_outside(stem) else ImageName.parse(stem)
        if name is None or not self.chosen.keeps_group(name.modality, name.source):
            return False
        return self.labelled is None or holds(self.labelled, stable_key(stem))

    def has_mask(self, stem: str) -> bool:
        """Whether a mask is in the slice, or what tells whether one in it is right."""
        mask = None if self._is_outside(stem) else MaskName.parse(stem)
        if mask is None or not self.has_image(mask.image):
            return False
        image = ImageName.parse(mask.image)
        return image is not None and (
            image.source in NEED_ALL_MASKS
            or self.chosen.keeps_label(self.classes.name(image.source, mask.class_id))
        )

    def has_file(self, name: str) -> bool:
        """Whether a file of the archive is an image or a mask of the slice."""
        kind, stem = kind_of(name)
        return (kind == "images" and self.has_image(stem)) or (
            kind == "masks" and self.has_mask(stem)
        )

    def is_masked(self, stem: str) -> bool:
        """Whether an image has a mask, in the slice or not."""
        return holds(self.masked, stable_key(stem))

    def _is_outside(self, stem: str) -> bool:
        """Tell by the begin of a name, once for all of a data set, what is not asked for."""
        token, _, rest = stem.partition("--")
        begin = token, rest.partition("--")[0]
        if begin not in self._outside:
            self._outside[begin] = not in_group(f"images/{stem}{SUFFIX}", self.chosen)
        return self._outside[begin]


def in_group(name: str, chosen: RowFilter) -> bool:
    """Whether a file may belong to what is asked for: what has no name of this release may."""
    fields = ImageName.parse("--".join(kind_of(name)[1].split("--")[:4]))
    return fields is None or chosen.keeps_group(fields.modality, fields.source)


def _masks(entries: Iterable[Entry | Skipped]) -> Iterator[tuple[ImageName, MaskName]]:
    for entry in entries:
        if isinstance(entry, Entry):
            kind, stem = kind_of(entry.name)
            mask = MaskName.parse(stem) if kind == "masks" else None
            image = mask and ImageName.parse(mask.image)
            if mask and image:
                yield image, mask


def _append(keys: array[int], key: int) -> None:
    if not keys or keys[-1] != key:  # masks of an image follow each other
        keys.append(key)


def _unique(keys: array[int]) -> np.ndarray:
    return np.unique(np.frombuffer(keys, np.int64))


def _there(chosen: RowFilter, groups: Iterable[tuple[str, str]], labels: set[str]) -> str:
    """Return what there is, of what was asked for in vain."""
    if labels:
        what, names = "classes", labels
    else:
        given = chosen.given()
        column = 1 if "source" in given or "source_not" in given else 0
        what, names = ("modalities", "data sets")[column], {group[column] for group in groups}
    told = ", ".join(sorted(names)[:_MOST_TOLD])
    return f"its {what} are {told}" + (" and others" if len(names) > _MOST_TOLD else "")
