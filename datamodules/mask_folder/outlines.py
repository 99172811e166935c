"""The outline of one object of a COCO file, and the mask that it stands for."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from syncsam_lightning.errors import BrokenInputError, MissingPackageError
from syncsam_lightning.records import CroppedMask

_LONGEST = 2_000_000
"""Pixels along an outline: pycocotools makes room for 5 points of each."""

_FIRST, _LAST, _MOST_DIGITS = 48, 111, 7
_NO_OUTLINE = "no usable outline"


def pycocotools() -> Any:
    """Import what draws polygons.

    Raises:
        MissingPackageError: it isn't installed.
    """
    try:
        return importlib.import_module("pycocotools.mask")
    except ImportError as error:
        raise MissingPackageError(
            f"polygons of COCO files need the package pycocotools, which cannot be imported "
            f"({error}): pip install 'syncsam-lightning[coco]'"
        ) from error


def whole(number: object) -> object:
    """Return a whole number that is written with a point (480.0, as pandas does) as integer."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


@dataclass(frozen=True, slots=True)
class Polygons:
    """One object as polygons.

    Args:
        corners: float64 x, y, x, y, ... of each polygon, as bytes: a file may hold millions.
    """

    corners: Sequence[bytes]

    @classmethod
    def of(cls, polygons: Sequence[Any], path: str) -> Polygons:
        """Check what a file says.

        Raises:
            BrokenInputError: a polygon is none.
        """
        found = []
        for polygon in polygons:
            try:
                corners = np.array(polygon, np.float64)
            except (TypeError, ValueError, OverflowError) as error:
                raise BrokenInputError(path, "a polygon holds no numbers", _NO_OUTLINE) from error
            if corners.ndim != 1 or len(corners) % 2 or len(corners) < 6:
                reason = "a polygon is not x, y of three points or more"
                raise BrokenInputError(path, reason, _NO_OUTLINE)
            if not np.isfinite(corners).all():
                raise BrokenInputError(path, "a polygon holds NaN or infinity", _NO_OUTLINE)
            closed = np.abs(np.diff(np.concatenate([corners, corners[:2]]).reshape(-1, 2), axis=0))
            # Each corner by itself, too: beyond 32 bits pycocotools counts wrong.
            if closed.max(axis=1).sum() > _LONGEST or np.abs(corners).max() > _LONGEST:
                reason = f"a polygon leads over more than {_LONGEST:,} pixels"
                raise BrokenInputError(path, reason, _NO_OUTLINE)
            found.append(corners.tobytes())
        return cls(tuple(found))

    def counts(self, height: int, width: int, path: str) -> np.ndarray:
        """Return the runs of all polygons together, see :func:`run_lengths`."""
        tools = pycocotools()
        polygons = [np.frombuffer(corners).tolist() for corners in self.corners]
        merged = tools.merge(tools.frPyObjects(polygons, height, width))
        return run_lengths(merged["counts"], path)


@dataclass(frozen=True, slots=True)
class Runs:
    """One object as run lengths, compressed or not.

    Args:
        size: height and width of the mask.
        lengths: int64 as bytes, or COCO's compressed text.
    """

    size: tuple[int, int]
    lengths: bytes | str

    @classmethod
    def of(cls, segmentation: dict[str, Any], path: str) -> Runs:
        """Check what a file says, but for the sum.

        Raises:
            BrokenInputError: it is no run-length encoding.
        """
        size, counts = segmentation.get("size"), segmentation.get("counts")
        size = [whole(side) for side in size] if isinstance(size, list) else size
        if not (
            isinstance(size, list)
            and len(size) == 2
            and all(type(side) is int and 0 < side < 2**31 for side in size)
        ):
            raise BrokenInputError(path, "size is not height and width", _NO_OUTLINE)
        if isinstance(counts, str):
            return cls((size[0], size[1]), counts)
        if not (
            isinstance(counts, list) and all(type(n) is int and 0 <= n < 2**31 for n in counts)
        ):
            reason = "counts are neither run lengths nor their compressed text"
            raise BrokenInputError(path, reason, _NO_OUTLINE)
        return cls((size[0], size[1]), np.array(counts, np.int64).tobytes())

    def counts(self, height: int, width: int, path: str) -> np.ndarray:
        """Return the runs, see :func:`run_lengths`."""
        if self.size != (height, width):
            reason = f"its runs are of {self.size[0]}x{self.size[1]} pixels, its image is said to "
            raise BrokenInputError(path, f"{reason}have {height}x{width}", "shape mismatch")
        if isinstance(self.lengths, str):
            return run_lengths(self.lengths.encode("utf-8", "replace"), path)
        return np.frombuffer(self.lengths, np.int64)


@dataclass(frozen=True, slots=True)
class OutlinedMask:
    """Draws an object when called.

    Args:
        outline: of the object.
        height: of the image, as the file says.
        width: of the image, as the file says.
        path: for messages.
    """

    outline: Polygons | Runs
    height: int
    width: int
    path: str

    def __call__(self) -> CroppedMask:
        """Return its box, pixel by pixel what pycocotools draws.

        Raises:
            BrokenInputError: the runs don't make up the image.
        """
        counts = self.outline.counts(self.height, self.width, self.path)
        ends = np.cumsum(counts)
        if (ends[-1] if len(ends) else 0) != self.height * self.width:
            reason = f"its runs add up to {ends[-1] if len(ends) else 0} pixels, its image has "
            reason += f"{self.height}x{self.width}"
            raise BrokenInputError(self.path, reason, _NO_OUTLINE)
        # Runs go down the columns; every second is foreground.
        first, last = (ends - counts)[1::2], ends[1::2] - 1
        first, last = first[first <= last], last[first <= last]
        shape = self.height, self.width
        if not len(first):
            return CroppedMask(shape, 0, 0, np.zeros((0, 0), bool))
        left, columns = int(first[0]) // self.height, int(last[-1]) // self.height + 1
        strip = np.zeros((columns - left) * self.height + 1, np.int8)
        strip[first - left * self.height] += 1
        strip[last + 1 - left * self.height] -= 1
        drawn = np.cumsum(strip[:-1], dtype=np.int8).view(bool)
        return CroppedMask(shape, 0, left, drawn.reshape(columns - left, self.height).T)


def run_lengths(text: bytes, path: str) -> np.ndarray:
    """Return ``(n,)`` int64 run lengths of COCO's compressed text, background first.

    Digits of 5 bits, the lowest first, a sixth bit says that more follow; from the fourth run on
    the difference to the last but one. Read here, not by pycocotools: its C code trusts the text.

    Raises:
        BrokenInputError: the text is none, or a run is negative.
    """
    digits = np.frombuffer(text, np.uint8).astype(np.int64)
    if len(digits) and not _FIRST <= digits.min() <= digits.max() <= _LAST:
        raise BrokenInputError(path, "counts hold a character that is no run", _NO_OUTLINE)
    digits -= _FIRST
    ends = np.flatnonzero((digits & 0x20) == 0)
    if not len(ends) or ends[-1] != len(digits) - 1:
        raise BrokenInputError(path, "counts end within a run", _NO_OUTLINE)
    begins = np.concatenate([[0], ends[:-1] + 1])
    sizes = ends - begins + 1
    if sizes.max() > _MOST_DIGITS:
        raise BrokenInputError(path, "counts hold a run of more than 32 bits", _NO_OUTLINE)
    places = np.arange(len(digits)) - np.repeat(begins, sizes)
    runs: np.ndarray = np.add.reduceat((digits & 0x1F) << (5 * places), begins)
    runs -= np.where(digits[ends] & 0x10, 1 << (5 * sizes), 0)
    runs[1::2], runs[2::2] = np.cumsum(runs[1::2]), np.cumsum(runs[2::2])
    if runs.min() < 0:
        raise BrokenInputError(path, "counts hold a negative run", _NO_OUTLINE)
    return runs
