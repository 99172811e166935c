"""Prepares each table that it is told of, where a lock needs write access, as NFS's locks do.

Run as a process of its own, several at a time: reads the path of a table from each line of the
standard input and answers ``made`` or ``there``, or with the error.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from syncsam_lightning.data import PromptableDataModule
from syncsam_lightning.data.conversion import WorkOptions
from syncsam_lightning.records import DatasetCard, NamedMask, RawSample

NUM_IMAGES = 24
flock = fcntl.flock


def flock_by_record(descriptor: int, operation: int) -> None:
    access = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
    if operation & fcntl.LOCK_EX and access == os.O_RDONLY:
        raise OSError(errno.EBADF, "Bad file descriptor")
    flock(descriptor, operation)


class Slowly(PromptableDataModule):
    card = DatasetCard("Slowly", "Made in memory, a little at a time.")
    needs_root = False

    def records(self, root: Path) -> Iterator[RawSample]:
        for number in range(NUM_IMAGES):
            time.sleep(0.001 * (os.getpid() % 3))
            image = np.random.default_rng(number).integers(0, 256, (8, 9), np.uint8)
            mask = np.ones((8, 9), bool)
            yield RawSample(str(number), image, [NamedMask("m", mask)], "ct", "s", str(number))


def main() -> None:
    fcntl.flock = flock_by_record
    print("ready", flush=True)
    for line in sys.stdin:
        datamodule = Slowly(table=line.strip(), image_size=8)
        try:
            report = datamodule.prepare(WorkOptions(unit_size=2, progress=False))
            print("there" if report is None else "made", flush=True)
        except Exception as error:
            print(f"{type(error).__name__}: {error}".replace("\n", " "), flush=True)


if __name__ == "__main__":
    main()
