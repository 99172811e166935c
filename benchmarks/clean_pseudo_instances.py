"""Time of cleaning pseudo-instances, beside the same rule applied to whole images step by step.

Run as ``python benchmarks/clean_pseudo_instances.py FOLDER``, where FOLDER holds the ``.npy`` files
of a data set of IMed-361M (its ``imask``). Every result of the one is compared with the other.
Times are of the processor, so that other work on the machine counts little.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage
from syncsam_datamodules.imed361m.pseudo import NONE, SMALLEST_SHARE, clean_regions


def clean_step_by_step(regions: np.ndarray) -> np.ndarray:
    """Apply the rule as it is published to whole images, region by region."""
    regions = regions.copy()
    smallest = regions.size * SMALLEST_SHARE
    for number in np.unique(regions):
        if (regions == number).sum() < smallest:
            regions[regions == number] = NONE
    for number in np.unique(regions):
        if number == NONE:
            continue
        mask = regions == number
        solid = ndimage.binary_closing(ndimage.binary_opening(mask))
        pieces, count = ndimage.label(solid)
        sizes = ndimage.sum(solid, pieces, range(count + 1))
        for piece in np.flatnonzero(sizes < smallest):
            solid[pieces == piece] = False
        regions[mask] = NONE
        regions[solid] = number
    return regions


def timed(clean: Callable[[np.ndarray], np.ndarray], regions: np.ndarray) -> tuple[float, object]:
    """Return milliseconds and the result."""
    start = time.process_time()
    cleaned = clean(regions)
    return 1000 * (time.process_time() - start), cleaned


def main(folder: Path) -> int:
    """Compare both on every file of a folder; the exit status is 1 if they differ."""
    fast, slow, unequal = [], [], []
    for path in sorted(folder.glob("*.npy")):
        regions = np.load(path, allow_pickle=False).reshape(np.load(path, mmap_mode="r").shape[:2])
        regions = regions.astype(np.int32)
        milliseconds, cleaned = timed(clean_regions, regions)
        fast.append(milliseconds)
        milliseconds, expected = timed(clean_step_by_step, regions)
        slow.append(milliseconds)
        if not np.array_equal(cleaned, expected):
            unequal.append(path.name)
    if not fast:
        print(f"no .npy files in {folder}")
        return 1
    for name, times in (("in boxes", fast), ("step by step", slow)):
        median, most = np.median(times), np.max(times)
        print(f"{name:>13}: median {median:7.1f} ms, largest {most:7.1f} ms per image")
    print(f"{len(fast)} images, {np.median(slow) / np.median(fast):.0f} times as fast", end=", ")
    print(f"unequal: {', '.join(unequal)}" if unequal else "all equal")
    return 1 if unequal else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
