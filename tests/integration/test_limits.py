"""A folder that can't be written, a table that may not be read: one clear sentence each."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

NOBODY = 65534
READ = """
import sys
from syncsam_lightning.data.table import Table
from syncsam_lightning.errors import SyncSAMError
table = Table(sys.argv[1])
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
def test_a_table_that_this_user_may_not_read(tmp_path):
    from syncsam_lightning.data.synthetic import write_synthetic_table

    table = tmp_path / "t.lance"
    write_synthetic_table(table, num_images=2)
    for file in (table / "data").iterdir():
        file.chmod(0)
    for place in (tmp_path, *tmp_path.parents):
        if place.stat().st_uid == 0 and place != Path("/tmp") and Path("/tmp") in place.parents:
            place.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", READ, str(table)],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        user=NOBODY,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    if "No module named" in done.stderr or "Permission" in done.stderr:
        pytest.skip("the environment is closed to other users")
    assert "may not be read" in done.stdout, done.stderr
    assert "give this user the right to read" in done.stdout
