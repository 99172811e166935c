"""Files stay small and are named after what they own."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = [
    path
    for folder in ("src", "datamodules", "configs", "tests", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
MAX_LINES = 400


def test_there_is_code_to_check():
    assert len(CODE) > 20


def test_no_file_is_longer_than_400_lines():
    lengths = {path: len(path.read_text().splitlines()) for path in CODE}
    long = {str(path.relative_to(ROOT)): n for path, n in lengths.items() if n > MAX_LINES}
    assert long == {}


def test_no_file_is_a_drawer_for_odds_and_ends():
    drawers = {"utils", "util", "helpers", "misc", "common"}
    found = [str(path.relative_to(ROOT)) for path in CODE if path.stem in drawers]
    assert found == []


def test_no_folder_of_tests_is_a_package():
    assert list((ROOT / "tests").rglob("__init__.py")) == []
