"""NIfTI files of a release, read when a row is made of one of their slices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from syncsam_lightning.data.source_files import read_file
from syncsam_lightning.data.sources import Entry, Source
from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes.place import Place
from syncsam_lightning.volumes.stored import read_place, read_stored
from syncsam_lightning.volumes.volume import Volume


@dataclass(frozen=True, slots=True, eq=False)
class VolumeFile:
    """A NIfTI file of a release, read when called.

    The last volume that a process has read is kept, since a row is made of one slice.

    Args:
        path: full address of the file.
        entry, source: what reads it; None where it is a file of its own.
    """

    path: str
    entry: Entry | None = None
    source: Source | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VolumeFile) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[str, Entry | None]:
        # Not the source, which is another object in each sample that was pickled.
        return self.path, self.entry

    @classmethod
    def of(cls, source: Source, entry: Entry) -> VolumeFile:
        """Return what reads a file of a release."""
        return cls(source.where(entry.name), entry, source)

    def header(self) -> Place:
        """Read where the voxels lie, which stands at the begin of the file.

        Raises:
            BrokenInputError: the file is damaged at its begin, or no volume.
        """
        try:
            with self._open() as file:
                return read_place(file, self.path, self._size)
        except BrokenInputError as error:
            raise BrokenInputError(self.path, error.reason, error.kind) from error
        except OSError as error:
            raise BrokenInputError(self.path, f"cannot be read ({error})") from error

    def read(self, *, nan_is_background: bool = False) -> Volume:
        """Read the file.

        Args:
            nan_is_background: see :func:`read_stored`; for images, not for labels.

        Raises:
            BrokenInputError: see :func:`read_stored`.
        """
        data = None
        if self.source is not None and self.entry is not None:
            data = read_file(self.source, self.entry)
        return read_stored(self.path, data, nan_is_background=nan_is_background)

    def __call__(self) -> Volume:
        """Return the volume as an image, in the numbers in which it is stored.

        Raises:
            BrokenInputError: see :func:`read_stored`.
        """
        found = _kept(self)
        if isinstance(found, BrokenInputError):
            raise found
        return found

    @property
    def _size(self) -> int:
        return Path(self.path).stat().st_size if self.entry is None else self.entry.size

    def _open(self) -> BinaryIO:
        if self.source is not None and self.entry is not None:
            return self.source.open(self.entry)
        return Path(self.path).open("rb")


def forget() -> None:
    """Forget what was read: the files of another run of the same process may be mended ones."""
    _kept.cache_clear()


@lru_cache(maxsize=1)
def _kept(file: VolumeFile) -> Volume | BrokenInputError:
    # A failure is kept too: else a damaged file would be read again for each of its slices.
    try:
        return file.read(nan_is_background=True)
    except BrokenInputError as error:
        return error
