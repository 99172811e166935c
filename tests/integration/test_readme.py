"""What the README shows works as shown."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from syncsam_lightning.cli.catalog import listed_configs
from syncsam_lightning.cli.guides import COMMANDS
from syncsam_lightning.cli.main import main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture
def plugin() -> str:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    return code


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_a_data_set_takes_about_thirty_lines(plugin: str):
    assert len([line for line in plugin.splitlines() if line.strip()]) <= 35


def test_the_data_set_of_the_readme_is_prepared(
    plugin: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    (tmp_path / "readme_polyps.py").write_text(plugin)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    for patient in range(10):
        pixels = np.full((40, 60, 3), 20 * patient, np.uint8)
        mask = np.zeros((40, 60), np.uint8)
        mask[10:20, 5:25] = 255
        save(tmp_path / f"release/images/p{patient}_0.png", pixels)
        if patient != 7:
            save(tmp_path / f"release/masks/p{patient}_0.png", mask)
    assert main(["prepare", "readme_polyps.Polyps", "release", "polyps.lance"]) == 0
    skipped = (tmp_path / "polyps.skipped.jsonl").read_text().splitlines()
    assert len(skipped) == 1
    assert "p7_0.png" in skipped[0]
    assert "it has no mask file" in skipped[0]


def test_the_table_of_configs_is_complete_and_names_no_other():
    table = re.findall(r"^\| (`[^|]*\.yaml`) \|", README, re.MULTILINE)
    named = {name for cell in table for name in re.findall(r"`([^`]+)`", cell)}
    assert named == set(listed_configs())


def test_every_command_is_named():
    assert all(f"syncsam {name}" in README for name in COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page: Path):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
