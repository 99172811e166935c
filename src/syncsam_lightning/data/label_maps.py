"""What the numbers of a mask or a label map mean, in pictures and in volumes alike."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from syncsam_lightning.errors import BrokenInputError

MAX_VALUES = 128
"""A label map with more values than this is taken for a photograph or a probability map."""

MAX_EXTENT = 1000
"""Instances whose boxes cover their image more often than this are none: of a photograph of 16 bits
each of 65,535 values lies everywhere."""

OBJECT = 255
"""The value of a mask that is no label map: its objects are called ``object``."""

_WHOLE, _WHOLE_SHARE = 1e-3, 1e-6
"""How far a label may lie off a whole number: what a scale factor or float32 leaves of one."""

_DEEPEST = 65535
_NEAR = 32
"""Values within a 32nd of the largest one are as good as it (248..255 of 255)."""

_NO_LABELS = "not a label map"

_FEW_CLASSES = 8
_LOOKED_AT = 10_000
_NO_INSIDE = 0.9


@dataclass(frozen=True, slots=True)
class LabelRule:
    """What the values of mask files become.

    Args:
        names: class names by value. A value that has none is ``object`` if it is 255, else
            ``class_VALUE``.
        threshold: value from which on all is one object, so that no file is a label map; for
            masks with soft edges and for probabilities. None: each value above 0 is a class.
        instance_label: class of all objects of label maps of which each value above 0 is an object,
            however many there are. None: values are classes.

    Raises:
        ValueError: the threshold is not finite, or ``instance_label`` is given with another rule.
    """

    names: Mapping[int, str] = field(default_factory=dict, hash=False)
    threshold: float | None = None
    instance_label: str | None = None

    def __post_init__(self) -> None:
        if self.instance_label is not None and (self.names or self.threshold is not None):
            other = "label_names" if self.names else "mask_threshold"
            raise ValueError(f"instance_label makes each value an object: give no {other}")
        if self.instance_label == "":
            raise ValueError("instance_label is the name of a class, such as cell; it is empty")
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise ValueError(f"mask_threshold must be a finite number, got {self.threshold}")

    def labels(self, values: np.ndarray, path: str) -> np.ndarray:
        """Return the labels of what a file holds.

        Args:
            values: numbers of any type and shape.
            path: of the file, for messages.

        Returns:
            integers of the same shape; under a threshold 0 and 255 as uint8.

        Raises:
            BrokenInputError: a value is not finite or, without a threshold, no whole number; or a
                threshold of 0 or less makes all of it the object, or nothing reaches it.
        """
        if self.threshold is None:
            return whole_labels(values, path)
        _check_finite(values, path)
        lowest, highest = values.min(initial=0), values.max(initial=0)
        if self.threshold <= 0 and self.threshold <= lowest:
            raise BrokenInputError(
                path,
                f"mask_threshold {self.threshold:g} makes its background of 0 the object, too: "
                "set a threshold above 0",
                "threshold",
            )
        if 0 < highest < self.threshold:
            raise BrokenInputError(
                path,
                f"no value reaches mask_threshold {self.threshold:g}: the largest is {highest:g}",
                "empty mask",
            )
        return (values >= self.threshold).astype(np.uint8) * np.uint8(OBJECT)

    def values(self, labels: np.ndarray, path: str) -> list[int]:
        """Return the values above 0 of a label map, ascending.

        Args:
            labels: integers of any shape, see :meth:`labels`.
            path: of the file, for messages.

        Raises:
            BrokenInputError: it holds a value below 0. Of classes: more than :data:`MAX_VALUES`, or
                its values are those of one object's soft edges and have no names. Of instances:
                see :meth:`objects`.
        """
        if self.instance_label is not None:
            return [value for value, _ in self.objects(labels, path)]
        found, counts = np.unique(labels, return_counts=True)
        _check_sign(found, path)
        counts, found = counts[found > 0], found[found > 0]
        if self._is_soft(labels, found, counts):
            raise BrokenInputError(
                path,
                f"looks like a mask with soft edges: of its {len(found)} values above 0 most are "
                "shades between the background and the object. Set mask_threshold, for example to "
                f"{int(found[-1]) // 2 + 1}; if they are classes, name them in label_names; a "
                "label map that was resized with smoothing has to be resized anew, by nearest "
                "neighbour",
                kind="soft edges",
            )
        if len(found) > MAX_VALUES:
            raise BrokenInputError(
                path,
                f"{len(found)} values are too many for a label map (limit {MAX_VALUES})",
                _NO_LABELS,
            )
        return [int(value) for value in found]

    def objects(self, labels: np.ndarray, path: str) -> list[tuple[int, tuple[slice, ...]]]:
        """Return the values above 0 of a label map, ascending, each with its tight box.

        Args:
            labels: integers of any shape, see :meth:`labels`.
            path: of the file, for messages.

        Raises:
            BrokenInputError: see :meth:`values`; or the values of instances lie scattered
                everywhere, as those of a photograph do.
        """
        if self.instance_label is None:
            self.values(labels, path)
            return boxes_of(labels)
        _check_sign(labels, path)
        found = boxes_of(labels)
        extent = sum(math.prod(part.stop - part.start for part in box) for _, box in found)
        if extent > MAX_EXTENT * labels.size:
            raise BrokenInputError(
                path,
                f"not an instance map: its {len(found)} values lie scattered, their boxes cover "
                f"the image {extent // labels.size} times (limit {MAX_EXTENT})",
                _NO_LABELS,
            )
        return found

    def only_value(self, labels: np.ndarray, path: str) -> int:
        """Return the one value above 0 of a file for one object, or 0 if there is none.

        Args:
            labels: integers of any shape, see :meth:`labels`.
            path: of the file, for messages.

        Raises:
            BrokenInputError: see :meth:`values`; or there are several values.
        """
        values = self.values(labels, path)
        if len(values) > 1:
            raise BrokenInputError(
                path,
                f"its name says that it holds one object, but it has the values {values}",
                "several objects",
            )
        return values[0] if values else 0

    def name(self, value: int) -> str:
        """Return the class of a value."""
        if self.instance_label is not None:
            return self.instance_label
        return self.names.get(value, "object" if value == OBJECT else f"class_{value}")

    def _is_soft(self, labels: np.ndarray, found: np.ndarray, counts: np.ndarray) -> bool:
        """Whether values are those of an edge that was smoothed, or of a mask that was JPEG.

        Real classes have an inside; the shades of an edge lie between a darker and a brighter
        pixel. JPEG also spreads the white of a mask over several values.
        """
        if len(found) < 2 or all(int(value) in self.names for value in found):
            return False
        top = int(found[-1])
        full = OBJECT if top <= OBJECT else _DEEPEST
        is_white = full - full / _NEAR < top <= full
        bright = found > top - top / _NEAR
        num_bright, num_dim = int(counts[bright].sum()), int(counts[~bright].sum())
        if is_white and bright.sum() > 1 and _dim_inside(found, counts, full) < num_bright:
            return True
        if not is_white and len(found) < _FEW_CLASSES:
            return False
        dim, on_edge = _on_edges(labels, top)
        if (is_white or num_bright >= num_dim) and float(on_edge.mean()) >= 0.5:
            return True
        return len(found) >= _FEW_CLASSES and 2 * _shades(dim, on_edge) >= len(found)


def boxes_of(labels: np.ndarray) -> list[tuple[int, tuple[slice, ...]]]:
    """Return the values above 0, ascending, each with its tight box.

    Takes one pass, however many there are.

    Args:
        labels: integers from 0 on, of any shape.
    """
    values: np.ndarray | None = None
    if labels.max(initial=0) > labels.size:  # room is made for as many as the largest says
        values, numbers = np.unique(labels, return_inverse=True)
        labels = numbers.reshape(labels.shape) + int(values[0] > 0)
        values = values[int(values[0] == 0) :]
    boxes = ndimage.find_objects(labels)
    found = [(number, box) for number, box in enumerate(boxes, 1) if box is not None]
    return found if values is None else [(int(values[n - 1]), box) for n, box in found]


def _check_sign(values: np.ndarray, path: str) -> None:
    if (lowest := values.min(initial=0)) < 0:
        raise BrokenInputError(
            path, f"not a label map: it holds {lowest}, which is below 0", _NO_LABELS
        )


def _dim_inside(found: np.ndarray, counts: np.ndarray, full: int) -> int:
    """Return how many pixels are neither nearly black nor nearly white."""
    margin = full / _NEAR
    return int(counts[(found > margin) & (found < full - margin)].sum())


def _on_edges(labels: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """Return values between 0 and the top, and which of these pixels lie between unequal others.

    Of many pixels only some are looked at.
    """
    dim = np.flatnonzero((labels > 0) & (labels < top))
    dim = dim[:: max(1, len(dim) // _LOOKED_AT)]
    places = np.stack(np.unravel_index(dim, labels.shape), axis=1)
    values = labels[tuple(places.T)]
    lowest, highest = values.copy(), values.copy()
    last = np.array(labels.shape) - 1
    for offset in np.ndindex(*[3] * labels.ndim):
        beside = labels[tuple((places + offset - 1).clip(0, last).T)]
        np.minimum(lowest, beside, out=lowest)
        np.maximum(highest, beside, out=highest)
    return values, (lowest < values) & (values < highest)


def _shades(values: np.ndarray, on_edge: np.ndarray) -> int:
    """Return how many values have no inside: those between classes that were smoothed."""
    _, number, counts = np.unique(values, return_inverse=True, return_counts=True)
    return int((np.bincount(number, on_edge) >= _NO_INSIDE * counts).sum())


def whole_labels(values: np.ndarray, path: str) -> np.ndarray:
    """Return labels as integers, whatever they are stored as.

    A label map that went through a scale factor or float32 holds 0.9999999 for 1. Values that lie
    further off a whole number are no labels (a probability map, a resampled label map).

    Args:
        values: numbers of any type and shape.
        path: of the file, for messages.

    Returns:
        integers of the same shape; those that are integers already as they are.

    Raises:
        BrokenInputError: a value is no whole number or not finite.
    """
    if values.dtype == bool:
        return values.astype(np.uint8)
    if values.dtype.kind in "iu":
        return values
    _check_finite(values, path)
    values = values.astype(np.result_type(values, np.float32), copy=False)
    rounded = np.rint(values)
    sizes = np.abs(rounded)
    wrong = (np.abs(values - rounded) > _WHOLE + _WHOLE_SHARE * sizes) | (sizes >= 2**63)
    if wrong.any():
        raise BrokenInputError(
            path,
            f"not a label map: it holds {values[wrong][0]:g}, and labels are whole numbers. If it "
            "is a mask of one object or a probability map, set mask_threshold",
            _NO_LABELS,
        )
    labels: np.ndarray = rounded.astype(np.int32 if sizes.max(initial=0) < 2**31 else np.int64)
    return labels


def _check_finite(values: np.ndarray, path: str) -> None:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise BrokenInputError(path, "holds values that are not finite", _NO_LABELS)
