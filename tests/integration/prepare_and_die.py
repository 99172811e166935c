"""Prepares a table of a release in a folder, read as an archive, and kills itself on request.

Run as a process of its own: ``prepare_and_die.py RELEASE TABLE WORKERS UNIT_SIZE [MOMENT]``.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from syncsam_datamodules import samed2d

from syncsam_lightning.data.conversion import WorkOptions
from syncsam_lightning.data.sources import Entry


@dataclass(frozen=True)
class StoredFolder:
    """Files of a folder, in an order in which masks lie far from their images."""

    root: Path

    def entries(self) -> Iterator[Entry]:
        for path in sorted(self.root.rglob("*.*"), key=lambda path: (path.suffix, path.name[::-1])):
            yield Entry(path.relative_to(self.root).as_posix(), path.stat().st_size)

    def read(self, entry: Entry) -> bytes:
        return (self.root / entry.name).read_bytes()


def main(release: str, table: str, workers: str, unit_size: str, moment: str = "") -> None:
    def at(passed: str) -> None:
        if passed == moment:
            os.killpg(0, signal.SIGKILL)

    samed2d.open_source = lambda root, options: StoredFolder(Path(release))
    datamodule = samed2d.SAMed2D(str(Path(release) / "SAMed2Dv1" / "images"), table, image_size=16)
    options = WorkOptions(int(workers), int(unit_size), progress=False, at=at)
    report = datamodule.prepare(options)
    print("there" if report is None else report.summary())


if __name__ == "__main__":
    main(*sys.argv[1:])
