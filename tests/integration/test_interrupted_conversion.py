"""A conversion that was killed, at whatever moment and however often, ends in the same table."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import lance
import numpy as np
import pytest
from PIL import Image

SCRIPT = Path(__file__).with_name("prepare_and_die.py")
NUM_IMAGES = 24
MOMENTS = (
    "masks:0",
    "masks:10",
    "index",
    "reconciled",
    "rows:0",
    "rows:6",
    "rows:11",
    "before commit",
    "committed",
    "published",
)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("release")
    folder = root / "SAMed2Dv1"
    index: dict[str, list[str]] = {"images/ct_00--A--gone--z_1.png": []}
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(NUM_IMAGES):
        name = f"ct_00--A--case_{number // 3}--z_{number}"
        pixels = np.random.default_rng(number).integers(0, 256, (20, 30, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{name}.png")
        masks = [f"masks/{name}--{label:04d}_000.png" for label in range(2)]
        index[f"images/{name}.png"] = masks
        for label, path in enumerate(masks):
            mask = np.zeros((20, 30), np.uint8)
            mask[label : label + 5, number : number + 4] = 255
            Image.fromarray(mask).save(folder / path)
    broken = folder / masks[0]
    broken.write_bytes(broken.read_bytes()[:50])
    (folder / "SAMed2D_v1.json").write_text(json.dumps(index))
    (folder / "SAMed2D_v1_class_mapping_id.json").write_text('{"A": {"x": 0, "y": 1}}')
    return root


def start(release: Path, table: Path, workers: int, unit_size: int, moment: str = ""):
    arguments = [str(release), str(table), str(workers), str(unit_size), moment]
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *arguments],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(release: Path, table: Path, workers: int, unit_size: int, moment: str = "") -> int:
    process = start(release, table, workers, unit_size, moment)
    _, errors = process.communicate(timeout=600)
    assert process.returncode in (0, -signal.SIGKILL), errors
    return process.returncode


def digest(table: Path) -> str:
    rows = lance.dataset(str(table)).to_table().to_pylist()
    assert len(rows) == NUM_IMAGES
    skipped = table.with_name("t.skipped.jsonl").read_bytes()
    return hashlib.sha256(repr(rows).encode() + skipped).hexdigest()


@pytest.fixture(scope="module")
def undisturbed(release: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    table = tmp_path_factory.mktemp("undisturbed") / "t.lance"
    assert run(release, table, 1, 1000) == 0
    return digest(table)


def leftovers(table: Path) -> list[str]:
    return sorted(path.name for path in table.parent.iterdir())


@pytest.mark.promise("Resume: a conversion killed at any moment goes on and ends in the same table")
@pytest.mark.slow
def test_ten_kills_in_a_row_change_nothing(release: Path, undisturbed: str, tmp_path: Path):
    table = tmp_path / "t.lance"
    for moment in MOMENTS:
        assert not table.exists()
        assert run(release, table, 2, 2, moment) == -signal.SIGKILL, moment
    assert run(release, table, 2, 2) == 0
    assert digest(table) == undisturbed
    assert leftovers(table) == ["t.lance", "t.skipped.jsonl"]


@pytest.mark.promise("Resume: a conversion killed at any moment goes on and ends in the same table")
@pytest.mark.slow
def test_kills_at_random_times_change_nothing(release: Path, undisturbed: str, tmp_path: Path):
    table = tmp_path / "t.lance"
    begin = time.monotonic()
    assert run(release, tmp_path / "timed" / "t.lance", 2, 2) == 0
    usual = time.monotonic() - begin
    killed = 0
    for number in range(5):
        process = start(release, table, 2, 2)
        try:
            process.wait(random.Random(number).uniform(0.3, 1.0) * usual)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.communicate()
    assert killed
    assert run(release, table, 2, 2) == 0
    assert digest(table) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "unit_size"), [(2, 2), (1, 5)])
def test_workers_and_units_change_nothing(
    release: Path, undisturbed: str, tmp_path: Path, workers: int, unit_size: int
):
    assert run(release, tmp_path / "t.lance", workers, unit_size) == 0
    assert digest(tmp_path / "t.lance") == undisturbed


@pytest.mark.slow
def test_two_preparations_of_one_table_make_it_once(
    release: Path, undisturbed: str, tmp_path: Path
):
    table = tmp_path / "t.lance"
    both = [start(release, table, 1, 2) for _ in range(2)]
    printed = sorted(process.communicate(timeout=600) for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert printed[0][0].startswith(f"{table}: {NUM_IMAGES} images")
    assert printed[1][0] == "there\n"
    assert digest(table) == undisturbed
    assert leftovers(table) == ["t.lance", "t.skipped.jsonl"]


@pytest.mark.slow
def test_a_table_deleted_after_a_late_kill_is_made_again(
    release: Path, undisturbed: str, tmp_path: Path
):
    table = tmp_path / "t.lance"
    assert run(release, table, 1, 5, "published") == -signal.SIGKILL
    table.rename(tmp_path / "elsewhere")
    assert run(release, table, 1, 5) == 0
    assert digest(table) == undisturbed
