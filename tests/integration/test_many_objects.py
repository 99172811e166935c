"""An image of many pixels with many objects is dealt with a few objects at a time."""

import subprocess
import sys
from pathlib import Path

import pytest

# Case, objects, MiB: the bounds are far from what is measured and from objects times pixels.
CASES = [
    ("convert", 200, 300),
    ("specks", 400, 400),
    ("instances", 5000, 150),
    ("batch", 200, 300),
    ("play", 60, 600),
    ("predict_file", 40, 650),
    ("predict_boxes", 20, 900),  # of which 305 are the masks that it returns
    ("decode", 40, 500),
]


@pytest.mark.promise("Limits: the memory that an image takes is not objects times pixels")
@pytest.mark.parametrize(("case", "objects", "bound"), CASES, ids=[name for name, *_ in CASES])
def test_memory_is_bounded_by_pixels(case, objects, bound):
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("many_objects.py")), case, str(objects)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.splitlines()[-1]) < bound


@pytest.mark.slow
def test_seventy_thousand_instances_take_no_more_memory_than_one():
    command = [sys.executable, "-m", "benchmarks.instances_memory", "--instances", "1", "70000"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    lines = [line.split(" | ") for line in done.stdout.splitlines()[1:]]
    assert [line[:2] for line in lines] == [
        [split, count] for split in ("train", "test") for count in ("1", "70,000")
    ]
    grown = [float(line[3]) for line in lines]
    assert max(grown) < 1.5 * min(grown)
    assert max(float(line[2]) for line in lines) < 900
