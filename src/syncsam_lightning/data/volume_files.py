"""Files of volumes, read when a row is made of one of their slices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from syncsam_lightning.data.mask_layout import visible_files
from syncsam_lightning.data.source_files import read_file
from syncsam_lightning.data.sources import Entry, Source
from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes.place import Place
from syncsam_lightning.volumes.reading import (
    find_folder_series,
    read_stored_volume,
    read_volume_place,
)
from syncsam_lightning.volumes.stored import read_place, read_stored
from syncsam_lightning.volumes.volume import Volume


@dataclass(frozen=True, slots=True, eq=False)
class VolumeFile:
    """A volume, read when called: a NIfTI file of a release, or any volume on this machine.

    The last volume that a process has read is kept, since a row is made of one slice.

    Args:
        path: full address of the file, or a folder with one DICOM series.
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

    @property
    def files(self) -> tuple[str, ...]:
        """All that is read for it: the file, or what lies in the folder of a series."""
        folder = Path(self.path)
        if self.entry is not None or not folder.is_dir():
            return (self.path,)
        return tuple(str(path) for path in visible_files(folder) if path.is_file())

    def left_out(self) -> str:
        """Return in one clause which files beside a DICOM series are no images; empty for none."""
        folder = Path(self.path)
        if self.entry is not None or not folder.is_dir():
            return ""
        return find_folder_series(folder).left_out

    def header(self) -> Place:
        """Read where the voxels lie, and none of them.

        Raises:
            BrokenInputError: the file is damaged at its begin, or no volume.
        """
        if self.source is None or self.entry is None:
            return read_volume_place(Path(self.path))
        try:
            with self.source.open(self.entry) as file:
                return read_place(file, self.path, self.entry.size)
        except BrokenInputError as error:
            raise BrokenInputError(self.path, error.reason, error.kind) from error
        except OSError as error:
            raise BrokenInputError(self.path, f"cannot be read ({error})") from error

    def read(self, *, nan_is_background: bool = False) -> Volume:
        """Read the file.

        Args:
            nan_is_background: see :func:`read_stored`; for images, not for labels.

        Raises:
            BrokenInputError: see :func:`~syncsam_lightning.volumes.reading.read_volume`.
        """
        if self.source is None or self.entry is None:
            return read_stored_volume(Path(self.path), nan_is_background=nan_is_background)
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
