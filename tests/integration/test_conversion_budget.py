"""A conversion of many images takes the memory of one of a few, and each image its time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMAGES, SIDE, MASKS = 2000, 256, 5
# A process of its own: in one that has had more memory, growth would not show.
CONVERT = f"""
import json, os, sys, time
from pathlib import Path
from benchmarks import prepare_memory as generated
from syncsam_lightning.data.conversion import WorkOptions

def at(moment):
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    told.append([moment, pages * os.sysconf("SC_PAGE_SIZE") / 2**20, time.process_time()])

told, table = [], Path(sys.argv[1])
generated.SIDE = {SIDE}
generated.samed2d.open_source = lambda root, options: generated.GeneratedArchive({IMAGES})
data = generated.samed2d.SAMed2D(str(table.parent), str(table), image_size={SIDE})
report = data.prepare(WorkOptions(unit_size=50, at=at, progress=False))
assert report.images.total() == {IMAGES} and report.masks == {IMAGES * MASKS}
print(json.dumps(told))
"""


@pytest.mark.slow
@pytest.mark.promise(
    "Limits: a conversion's memory does not grow with the images, and each has its time"
)
def test_memory_stays_where_it_is_once_caches_are_full(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", CONVERT, str(tmp_path / "t.lance")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    for stage, items in (("masks", IMAGES * MASKS), ("rows", IMAGES)):
        passed = [(mib, at) for name, mib, at in told if name.startswith(f"{stage}:")]
        half = len(passed) // 2
        assert half >= 20
        # Of a leak, the images of the second half alone were 63 MiB, the masks 313 MiB; the caches
        # of open files and masks, which have bounds, are full by then but for some 20 MiB.
        grown = max(mib for mib, _ in passed[half:]) - passed[half][0]
        assert grown < 40, f"{stage}: {grown:.0f} MiB more"
        assert (passed[-1][1] - passed[half][1]) / (items / 2) < 0.1, stage
