"""Peak memory and time of preparing one image of many instances.

    python benchmarks/instances_memory.py --instances 1 300 70000

Each case is a process of its own that prepares a folder of one grey image and one instance map of
32 bits, as MaskFolder reads them, and then draws training samples of the row, or reads the row of a
test image. The peak is the kernel's (VmHWM) less what importing the libraries takes. Linux only.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile
from syncsam_datamodules.mask_folder import MaskFolder

from syncsam_lightning.data.conversion import WorkOptions
from syncsam_lightning.data.sampler import TrainingKey


def instance_map(count, side):
    """Return ``(side, side)`` int32 with as many rectangles as asked for, in a grid."""
    across = int(np.ceil(np.sqrt(count)))
    step = side // across
    place = np.arange(side)
    cell, inside = np.minimum(place // step, across - 1), place % step < max(1, step - 2)
    labels = 1 + cell[:, None] * across + cell
    return np.where(inside[:, None] & inside & (labels <= count), labels, 0).astype(np.int32)


def status(name):
    """Return a line of this process's status in MiB."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0]) / 1024


def prepare(count, side, split, folder):
    """Prepare a generated image; the process to be measured."""
    root = Path(folder) / split
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    image = np.random.default_rng(0).integers(0, 256, (side, side), np.uint8)
    tifffile.imwrite(root / "images" / "slide.tif", image)
    tifffile.imwrite(root / "masks" / "slide.tif", instance_map(count, side))
    del image
    table = f"{folder}/t.lance"
    datamodule = MaskFolder(
        folder,
        table,
        instance_label="cell",
        batch_size=1,
        num_workers=0,
        image_size=1024,
        val_fraction=0,
    )
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of making the files
    before, begin = status("VmRSS"), time.perf_counter()
    report = datamodule.prepare(WorkOptions(workers=1))
    seconds, grown = time.perf_counter() - begin, status("VmHWM") - before
    assert (report.masks, report.num_skipped) == (count, 0), report
    size = sum(path.stat().st_size for path in Path(table).rglob("*") if path.is_file()) / 2**20
    begin = time.perf_counter()
    if split == "train":
        datamodule.setup("fit")
        samples = datamodule.train_dataloader().dataset
        samples[TrainingKey(0, 0)]
    else:
        datamodule.setup("test")
        datamodule.rows("test").read([0])
    print(f"{seconds:.1f} {grown:.0f} {size:.1f} {time.perf_counter() - begin:.1f}")


def main():
    """Run the cases and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, nargs="+", default=[1, 300, 70_000])
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        count, split, folder = options.case
        prepare(int(count), options.side, split, folder)
        return
    print("split | instances | seconds | grown MiB | table MiB | seconds to read")
    for split in ("train", "test"):
        for count in options.instances:
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, __file__, "--side", str(options.side)]
                command += ["--case", str(count), split, folder]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stderr)
            print(split, f"{count:,}", *done.stdout.splitlines()[-1].split(), sep=" | ", flush=True)


if __name__ == "__main__":
    main()
