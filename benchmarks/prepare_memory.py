"""Peak memory and throughput of a conversion against the number of images.

    python benchmarks/prepare_memory.py --images 1000 100000 --workers 1 2

Each case is a process group of its own that prepares a generated archive in the layout of
SA-Med2D-20M (tiny unique images with five masks each, masks stored behind all images), through the
masks-first stages. Peaks are the kernel's (VmHWM), of the main process and of the largest worker;
they include what importing the libraries takes, some 900 MiB. Linux only.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from syncsam_datamodules import samed2d

from syncsam_lightning.data.conversion import WorkOptions
from syncsam_lightning.data.sources import Entry

SIDE = 32
MASKS = 5
FOLDER = "SAMed2Dv1/"


def stem(number):
    """Return the name of an image."""
    return f"ct_00--Generated--case_{number // 50:06d}--z_{number % 50:04d}"


@dataclass(frozen=True)
class GeneratedArchive:
    """An archive whose files are made when they are read."""

    num_images: int

    def entries(self) -> Iterator[Entry]:
        """Yield images, then masks by class, then the index."""
        for number in range(self.num_images):
            yield Entry(f"{FOLDER}images/{stem(number)}.png", number)
        for label in range(MASKS):
            for number in range(self.num_images):
                name = f"{FOLDER}masks/{stem(number)}--{label:04d}_000.png"
                yield Entry(name, number)
        yield Entry(FOLDER + samed2d.CLASSES, 0)
        yield Entry(FOLDER + samed2d.INDEX, 0)

    def read(self, entry: Entry) -> bytes:
        """Return the bytes of a file; those of images and masks are unique."""
        if entry.name.endswith(samed2d.CLASSES):
            return b'{"Generated": {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4}}'
        rng = np.random.default_rng([entry.size, "masks/" in entry.name])
        if "images/" in entry.name:
            pixels = rng.integers(0, 256, (SIDE, SIDE), np.uint8)
        else:
            pixels = np.zeros((SIDE, SIDE), np.uint8)
            row, column = rng.integers(0, SIDE // 2, 2)
            pixels[row : row + 9, column : column + 9] = 255
        return cv2.imencode(".png", pixels)[1].tobytes()

    def open(self, entry: Entry) -> io.BufferedReader:
        """Stream the index."""
        return io.BufferedReader(GeneratedIndex(self.num_images), 1 << 16)


class GeneratedIndex(io.RawIOBase):
    """The index as a stream."""

    def __init__(self, num_images):
        self._pieces = self._text(num_images)
        self._rest = b""

    @staticmethod
    def _text(num_images):
        yield b"{"
        for number in range(num_images):
            masks = ", ".join(f'"masks/{stem(number)}--{n:04d}_000.png"' for n in range(MASKS))
            separator = "," if number else ""
            yield f'{separator}"images/{stem(number)}.png": [{masks}]'.encode()
        yield b"}"

    def readable(self):
        """Return True."""
        return True

    def readinto(self, buffer):
        """Fill a buffer as far as one piece goes."""
        self._rest = self._rest or next(self._pieces, b"")
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def prepare(num_images, workers, table):
    """Prepare a generated archive; the process to be measured."""
    samed2d.open_source = lambda root, options: GeneratedArchive(num_images)
    stages = {}
    begin = time.perf_counter()

    def at(moment):
        stages[moment.partition(":")[0]] = time.perf_counter() - begin

    datamodule = samed2d.SAMed2D(str(Path(table).parent), table, image_size=SIDE)
    report = datamodule.prepare(WorkOptions(workers=workers, at=at))
    assert report.images.total() == num_images
    assert report.masks == num_images * MASKS
    assert report.num_skipped == 0
    masks, rows = stages["masks"], stages["rows"] - stages["reconciled"]
    print(time.perf_counter() - begin, num_images * MASKS / masks, num_images / rows)


def peaks(session):
    """Yield the id and peak memory in MiB of each process of a session."""
    for folder in Path("/proc").iterdir():
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            if folder.name.isdigit() and int(stat[3]) == session:
                status = dict(
                    line.split(":", 1) for line in (folder / "status").read_text().splitlines()
                )
                yield int(folder.name), int(status["VmHWM"].split()[0]) / 1024
        except (OSError, KeyError, IndexError):
            continue


def measure(num_images, workers, folder):
    """Run one case; return its results and its peaks in MiB, main process and largest worker."""
    command = [sys.executable, __file__, "--case", str(num_images), str(workers), folder]
    child = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, text=True)
    highest = {}
    while child.poll() is None:
        highest.update(peaks(child.pid))
        time.sleep(0.1)
    assert child.stdout is not None
    assert child.returncode == 0
    main = highest.pop(child.pid)
    seconds, masks, images = map(float, child.stdout.read().split())
    return seconds, masks, images, main, max(highest.values(), default=0.0)


def main():
    """Run the cases and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 100_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        num_images, workers, folder = options.case
        prepare(int(num_images), int(workers), f"{folder}/t.lance")
        return
    print("images | workers | seconds | masks/s | images/s | main MiB | largest worker MiB")
    for workers in options.workers:
        for num_images in options.images:
            with tempfile.TemporaryDirectory() as folder:
                seconds, masks, images, *memory = measure(num_images, workers, folder)
            print(
                f"{num_images:7,} | {workers} | {seconds:6.1f} | {masks:7,.0f} | {images:7,.0f} | "
                f"{memory[0]:5.0f} | {memory[1]:5.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
