"""NIfTI files of a release, read when a row is made of one of their slices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from syncsam_lightning.data.source_files import read_file
from syncsam_lightning.data.sources import Entry, Source
from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes.place import Place
from syncsam_lightning.volumes.stored import read_place, read_stored
from syncsam_lightning.volumes.volume import Volume


@dataclass(frozen=True, slots=True, eq=False)
class VolumeFile:
    """A NIfTI file of a release, read when called.

    The last few volumes that a process has read are kept, since a row is made of one slice.
    """

    path: str
    entry: Entry
    source: Source

    def __eq__(self, other: object) -> bool:
        return isinstance(other, VolumeFile) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[str, Entry]:
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
            with self.source.open(self.entry) as file:
                return read_place(file, self.path)
        except BrokenInputError as error:
            raise BrokenInputError(self.path, error.reason, error.kind) from error
        except OSError as error:
            raise BrokenInputError(self.path, f"cannot be read ({error})") from error

    def read(self) -> Volume:
        """Read the file.

        Raises:
            BrokenInputError: see :func:`read_stored`.
        """
        return read_stored(self.path, read_file(self.source, self.entry))

    def __call__(self) -> Volume:
        """Return the volume.

        Raises:
            BrokenInputError: see :func:`read_stored`.
        """
        found = _kept(self)
        if isinstance(found, BrokenInputError):
            raise found
        return found


@lru_cache(maxsize=1)
def _kept(file: VolumeFile) -> Volume | BrokenInputError:
    # A failure is kept too: else a damaged file would be read again for each of its slices.
    try:
        return file.read()
    except BrokenInputError as error:
        return error
