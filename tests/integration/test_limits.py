"""What runs into a limit says so in one sentence; what has a budget of memory and time keeps it."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from syncsam_lightning.data.synthetic import write_synthetic_table

NOBODY = 65534
READ = f"""
import os, sys
from syncsam_lightning.data.table import Table
from syncsam_lightning.errors import SyncSAMError
table = Table(sys.argv[1])
os.seteuid({NOBODY})  # only now: the environment may be closed to others
try:
    table.rows([0])
except SyncSAMError as error:
    print(error)
"""


def syncsam(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "syncsam_lightning.cli.main", *args],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.promise("Limits: a folder that can't be written to gives one sentence")
def test_a_table_in_the_place_of_whose_folder_is_a_file(tmp_path):
    (tmp_path / "tables").write_text("a file")
    done = syncsam(tmp_path, "prepare", "MNI152", "-", "tables/t.lance", "--workers", "1")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "tables" in line


@pytest.mark.promise("Limits: a table that may not be read gives one sentence")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_table_that_this_user_may_not_read():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        table = write_synthetic_table(Path(folder, "t.lance"), num_images=2)
        for file in (table / "data").iterdir():
            file.chmod(0)
        done = subprocess.run(
            [sys.executable, "-c", READ, str(table)], capture_output=True, text=True, check=False
        )
    assert "may not be read" in done.stdout, done.stderr
    assert "give this user the right to read" in done.stdout


@pytest.fixture
def read_only(tmp_path: Path) -> list[str]:
    """A command that runs another one in which ``tmp_path/fixed`` is mounted read-only."""
    (tmp_path / "fixed").mkdir()
    mounted = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    mounted += ['mount -t tmpfs -o ro none "$0" && exec "$@"', str(tmp_path / "fixed")]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*mounted, "true"], check=False).returncode
    ):
        pytest.skip("this system lets nobody mount a folder read-only")
    return mounted


@pytest.mark.promise("Limits: a folder that can't be written to gives one sentence")
def test_a_table_in_a_folder_that_is_read_only(tmp_path: Path, read_only: list[str]):
    command = [*read_only, sys.executable, "-m", "syncsam_lightning.cli.main", "prepare", "MNI152"]
    done = subprocess.run(
        [*command, "-", "fixed/t.lance", "--workers", "1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "Read-only file system" in line
    assert "fixed/t.lock" in line


def resident() -> float:
    """Return the memory that this process has now, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


@pytest.mark.promise("Limits: clicking on and on takes no more memory, and each click its time")
def test_clicks_keep_to_their_memory_and_their_time():
    from syncsam_lightning.models import SyncSAM
    from syncsam_lightning.prediction import Predictor

    model = SyncSAM(cnn="none", image_size=128, vit_width=32, vit_depth=4, vit_heads=2)
    predictor = Predictor(model, device="cpu")
    rng = np.random.default_rng(0)

    def click_through(images: int) -> None:
        for _ in range(images):
            predictor.set_image(rng.integers(0, 256, (512, 512), np.uint8))
            for _ in range(10):
                predictor.predict(points=rng.integers(0, 512, (1, 2)).tolist(), labels=[1])

    click_through(3)
    before, begin = resident(), time.process_time()
    click_through(30)
    # The masks of the clicks alone are 75 MiB.
    assert resident() - before < 40
    assert (time.process_time() - begin) / 300 < 0.5


@pytest.mark.promise("Limits: predicting many files takes no more memory, and each file its time")
def test_files_are_predicted_in_the_memory_of_a_few_and_each_in_its_time(tmp_path):
    from syncsam_lightning.models import SyncSAM
    from syncsam_lightning.prediction import Predictor, VolumePredictor
    from syncsam_lightning.prediction.assignment import assign_prompts
    from syncsam_lightning.prediction.file_predictor import FilePredictor
    from syncsam_lightning.prediction.inputs import find_inputs
    from syncsam_lightning.prediction.prompt_list import prompt_of_options

    rng = np.random.default_rng(0)
    for number in range(60):
        pixels = rng.integers(0, 256, (1024, 1024), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png", compress_level=0)
    model = SyncSAM(cnn="none", image_size=128, vit_width=32, vit_depth=4, vit_heads=2)
    predictor = Predictor(model, device="cpu")
    prompt = prompt_of_options("200,200,800,800", None, "disc", None)
    pairs, _ = assign_prompts(find_inputs([tmp_path])[0], [prompt], None)
    at = []

    def watched():
        for pair in pairs:
            at.append((resident(), time.process_time()))
            yield pair

    outcome = FilePredictor(predictor, VolumePredictor(predictor), tmp_path / "out").run(watched())
    assert len(outcome.found) == 60
    (before, begin), (after, end) = at[15], at[-1]
    # One byte for each pixel of these files, or of their masks, is 44 MiB.
    assert after - before < 25
    assert (end - begin) / 44 < 1
