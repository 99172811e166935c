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
