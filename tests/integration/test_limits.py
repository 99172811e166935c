"""A folder that can't be written, a table that may not be read: one clear sentence each."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

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


def test_a_table_in_the_place_of_whose_folder_is_a_file(tmp_path):
    (tmp_path / "tables").write_text("a file")
    done = syncsam(tmp_path, "prepare", "MNI152", "-", "tables/t.lance", "--workers", "1")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "tables" in line


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
