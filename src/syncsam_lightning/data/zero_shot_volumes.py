"""The base of data sets for testing whose release holds labelled volumes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar

from syncsam_lightning.data.conversion import Records, Workbench
from syncsam_lightning.data.label_volumes import SliceRule
from syncsam_lightning.data.slices import LabelledVolume, Slicer, surveyed
from syncsam_lightning.data.sources import Source, open_source
from syncsam_lightning.data.zero_shot import ZeroShotDataModule
from syncsam_lightning.records import RawSample, Skipped


class ZeroShotVolumes(ZeroShotDataModule):
    """Slices of volumes; a subclass says in :meth:`volumes` which there are.

    Args of the class:
        paper, recommended: how slices are cut under each value of ``preprocessing``.
    """

    paper: ClassVar[SliceRule]
    recommended: ClassVar[SliceRule]

    @property
    def rule(self) -> SliceRule:
        """How slices are cut."""
        return self.paper if self.is_paper else self.recommended

    @abstractmethod
    def volumes(self, source: Source) -> Iterator[LabelledVolume | Skipped]:
        """Yield every volume of the release; nothing of a file is read.

        Args:
            source: the release, in folders or archives.

        Raises:
            DatasetNotFoundError: this is not the release.
        """

    def samples(self, source: Source) -> Iterator[RawSample | Skipped]:
        """Yield the slices with an object, volume by volume."""
        yield from self._sliced(source, Slicer(self.rule))

    def open_records(self, root: Path | str, bench: Workbench) -> Records:
        """Read the labels in the workers, to know which slices have objects.

        Args:
            root: see the constructor.
            bench: for the stage that reads them.
        """
        source = open_source(root, self.source_options)
        found = (one for one in self.volumes(source) if isinstance(one, LabelledVolume))
        return partial(self._sliced, source, surveyed(bench, found, self.rule))

    def _sliced(self, source: Source, slicer: Slicer) -> Iterator[RawSample | Skipped]:
        for found in self.volumes(source):
            if isinstance(found, Skipped):
                yield found
            else:
                yield from slicer.samples(found)
