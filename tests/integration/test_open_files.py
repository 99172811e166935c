"""A conversion keeps no file open that it has read; releases have more than a process may open."""

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from syncsam_lightning.data.table import Table

SHAPE = (8, 9, 2)
IMAGES = {"HNTSMRG": "{0}/preRT/{0}_preRT_T2.nii", "MaskFolder": "images/{0}.nii"}
MASKS = {"HNTSMRG": "{0}/preRT/{0}_preRT_mask.nii", "MaskFolder": "masks/{0}.nii"}


def write_volumes(root: Path, plugin: str, num_cases: int) -> None:
    """Write volumes of two slices, the first of which has a mask, and their label maps."""
    voxels = np.random.default_rng(0).integers(0, 900, SHAPE).astype(np.int16)
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:6, 3:7, 0] = 1
    image, mask = (nib.Nifti1Image(data, np.eye(4)).to_bytes() for data in (voxels, labels))
    for number in range(num_cases):
        for layout, data in ((IMAGES, image), (MASKS, mask)):
            path = root / layout[plugin].format(f"{number:05d}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def allow(num_files: int) -> Callable[[], None]:
    """Return what lets the process that calls it, and its own, open so many files at a time."""

    def limit() -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (num_files, hard))

    return limit


def convert(tmp_path: Path, plugin: str, num_cases: int, num_files: int, workers: int) -> None:
    write_volumes(tmp_path / "release", plugin, num_cases)
    command = [sys.executable, "-m", "syncsam_lightning.cli.main", "prepare", plugin]
    done = subprocess.run(
        [*command, str(tmp_path / "release"), str(tmp_path / "t.lance"), "--workers", str(workers)],
        preexec_fn=allow(num_files),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = (tmp_path / "t.skipped.jsonl").read_text().splitlines()
    # Both count the slices on which nothing is labelled.
    reasons = {json.loads(line)["reason"] for line in lines}
    assert all(reason.startswith("1 of its 2 slices carr") for reason in reasons), reasons
    assert len(Table(tmp_path / "t.lance")) == num_cases


@pytest.mark.promise("Limits: a conversion keeps open none of the files that it has read")
@pytest.mark.parametrize("plugin", list(MASKS))
def test_300_volumes_are_converted_by_a_process_that_may_open_128_files(tmp_path, plugin):
    convert(tmp_path, plugin, num_cases=150, num_files=128, workers=1)


@pytest.mark.slow
@pytest.mark.promise("Limits: a conversion keeps open none of the files that it has read")
@pytest.mark.parametrize(("plugin", "workers"), [("HNTSMRG", 2), ("MaskFolder", 1)])
def test_10_000_volumes_are_converted_by_processes_that_may_open_256_files(
    tmp_path, plugin, workers
):
    convert(tmp_path, plugin, num_cases=5_000, num_files=256, workers=workers)
