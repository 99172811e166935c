"""The rows of docs/architecture.md hold: import-linter reads the contracts in pyproject.toml."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINTER = Path(sys.executable).parent / "lint-imports"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    sources = [folder / "src", folder]
    return subprocess.run(
        [str(LINTER), "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sources)), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the source in which a test may break a rule."""
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=ignore)
    shutil.copytree(ROOT / "datamodules", tmp_path / "syncsam_datamodules", ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_every_module_imports_from_lower_rows_only():
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        (
            "src/syncsam_lightning/prompts/prompts.py",
            "import syncsam_lightning.models",
            "A module imports from lower rows only",
        ),
        (
            "src/syncsam_lightning/models/promptable.py",
            "import lightning.pytorch",
            "The tensor code knows no Lightning",
        ),
        (
            "src/syncsam_lightning/prediction/predictor.py",
            "import lightning.pytorch",
            "Prediction needs no Lightning",
        ),
        ("src/syncsam_lightning/records.py", "import torch", "Row 0 needs no torch"),
        (
            "syncsam_datamodules/mni152.py",
            "import syncsam_datamodules.samed2d",
            "Datamodule plugins don't know each other",
        ),
        (
            "syncsam_datamodules/mni152.py",
            "import syncsam_lightning.training",
            "Datamodule plugins use the data contract only",
        ),
        (
            "src/syncsam_lightning/data/table.py",
            "from lance.file import LanceFileSession",
            "One module knows the library of tables",
        ),
        ("syncsam_datamodules/mni152.py", "import lance", "One module knows the library of tables"),
    ],
)
def test_a_forbidden_import_is_found(copy: Path, file: str, line: str, contract: str):
    path = copy / file
    path.write_text(path.read_text() + f"\n{line}\n")
    result = lint(copy)
    assert result.returncode == 1
    assert f"{contract} BROKEN" in result.stdout
