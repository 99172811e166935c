"""Files of a release that are read when a row is made, wherever the release lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from syncsam_lightning.data.readers import read_image, read_mask
from syncsam_lightning.data.sources import Entry, Source
from syncsam_lightning.errors import BrokenInputError


def read_file(source: Source, entry: Entry) -> bytes:
    """Return the bytes of a file.

    Raises:
        BrokenInputError: it cannot be read; its path is the full address.
    """
    try:
        return source.read(entry)
    except BrokenInputError as error:
        raise BrokenInputError(source.where(entry.name), error.reason, error.kind) from error


@dataclass(frozen=True, slots=True)
class _File:
    source: Source
    entry: Entry

    @property
    def path(self) -> str:
        """Full address of the file."""
        return self.source.where(self.entry.name)


class ImageFile(_File):
    """Reads an image when called."""

    __slots__ = ()

    def __call__(self) -> np.ndarray:
        """Return ``(H, W, 1 or 3)`` uint8.

        Raises:
            BrokenInputError: the file cannot be read or is no image.
        """
        return read_image(self.path, read_file(self.source, self.entry))


class ObjectFile(_File):
    """Reads the mask of one object when called."""

    __slots__ = ()

    def __call__(self) -> np.ndarray:
        """Return ``(H, W)`` bool.

        Raises:
            BrokenInputError: the file cannot be read or is no image.
        """
        return read_mask(self.path, read_file(self.source, self.entry))


@dataclass(frozen=True, slots=True)
class Unusable:
    """Stands for masks that can't be had, and says why when it is called for one.

    The way in which :class:`~syncsam_lightning.records.LazyMasks` tell the conversion what to list.
    """

    error: BrokenInputError

    def __call__(self) -> np.ndarray:
        """Raise the error."""
        raise self.error
