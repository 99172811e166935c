"""A datamodule in a package of its own: the example of docs/add_a_dataset.md, installed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from syncsam_lightning.data.datamodule import PromptableDataModule

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "add_a_dataset.md"
OURS = [
    entry.name
    for entry in distribution("syncsam-lightning").entry_points
    if entry.group == "syncsam_lightning.datamodules"
]
FILE = re.compile(r"^`([^`\n]+)`:\n\n```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def write_package(folder: Path) -> Path:
    """Write the files that the guide shows, each under the name it stands by."""
    files = dict(FILE.findall(GUIDE.read_text()))
    assert set(files) == {"src/knee_data/knees.py", "pyproject.toml"}
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def install(package: Path, site: Path) -> None:
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--target", str(site)]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", *options, str(package)],
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        check=True,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site folder with the guide's package and one whose plugin can't be imported."""
    site = tmp_path_factory.mktemp("site")
    install(write_package(tmp_path_factory.mktemp("package")), site)
    broken = write_package(tmp_path_factory.mktemp("broken"))
    (broken / "src" / "knee_data").rename(broken / "src" / "hip_data")
    (broken / "src" / "hip_data" / "knees.py").write_text("import a_reader_that_is_not_there\n")
    project = broken / "pyproject.toml"
    project.write_text(project.read_text().replace("knee", "hip").replace("Knees", "Hips"))
    project.write_text(project.read_text().replace("hip_data.hips", "hip_data.knees"))
    install(broken, site)
    return site


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six radiographs of three patients; the label map of the last is missing."""
    folder = tmp_path_factory.mktemp("release")
    rows = ["file,patient,part"]
    for name in ("images", "labels"):
        (folder / name).mkdir()
    for number in range(6):
        labels = np.zeros((20, 30), dtype=np.uint8)
        labels[2:8, 3 : 10 + number] = 1
        labels[12:18, 3:10] = 2
        Image.fromarray(labels * 100).save(folder / "images" / f"k{number}.png")
        if number < 5:
            Image.fromarray(labels).save(folder / "labels" / f"k{number}.png")
        part = "training" if number < 4 else "held out"
        rows.append(f"k{number}.png,p{number // 2},{part}")
    (folder / "index.csv").write_text("\n".join(rows))
    return folder


def run(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def syncsam(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(site, folder, "-m", "syncsam_lightning.cli.main", *arguments)


def test_the_class_of_the_example_fits_on_a_screen():
    source = dict(FILE.findall(GUIDE.read_text()))["src/knee_data/knees.py"]
    body = source[source.index("class Knees") : source.index("def bone")].strip()
    assert len(body.splitlines()) <= 40


def test_the_example_of_options_of_ones_own_shapes_the_table():
    (snippet,) = (
        block
        for block in re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(), re.M | re.S)
        if "min_age" in block
    )
    names = {"PromptableDataModule": PromptableDataModule}
    exec(snippet, names)
    knees = type("Knees", (names["Knees"],), {"records": lambda self, root: iter(())})
    assert knees(min_age=40, batch_size=3).table_settings()["min_age"] == 40
    assert knees(batch_size=3).batch_size == 3


def test_it_is_listed_without_being_imported(site: Path, tmp_path: Path):
    code = (
        "import sys; from syncsam_lightning.cli.catalog import datamodule_names;"
        "print(datamodule_names(), 'knee_data' in sys.modules, 'torch' in sys.modules)"
    )
    result = run(site, tmp_path, "-c", code)
    assert result.stdout.strip() == (f"{sorted([*OURS, 'Hips', 'Knees'])} False False"), (
        result.stderr
    )


def test_it_is_found_and_a_broken_neighbour_is_told_with_its_reason(site: Path, tmp_path: Path):
    code = (
        "from syncsam_lightning.data.plugins import load_datamodules, find_datamodule;"
        "loaded, broken = load_datamodules();"
        "print(loaded['Knees'].card.name, sorted(loaded), broken);"
        "find_datamodule('Hips')"
    )
    result = run(site, tmp_path, "-c", code)
    assert result.stdout.strip() == (
        f"Knees {sorted([*OURS, 'Knees'])} "
        "{'Hips': \"hip_data.knees:Hips: ModuleNotFoundError: "
        "No module named 'a_reader_that_is_not_there'\"}"
    )
    message = result.stderr.strip().splitlines()[-1]
    known = ", ".join(sorted([*OURS, "Knees"]))
    assert f"unknown datamodule 'Hips'; known: {known}" in message
    assert "a_reader_that_is_not_there" in message


BATCH = """
import sys
from knee_data.knees import Knees
datamodule = Knees(table=sys.argv[1], image_size=32, batch_size=2, num_workers=0, masks_per_image=3)
datamodule.setup("fit")
batch = next(iter(datamodule.train_dataloader()))
print(tuple(batch.images.shape), tuple(batch.targets.masks.shape))
print([datamodule.num_rows(split) for split in ("train", "val", "test")])
print(sorted({item.label for item in next(iter(datamodule.test_dataloader())).objects}))
"""


def test_it_is_prepared_and_loaded_like_one_of_ours(site: Path, release: Path, tmp_path: Path):
    table = str(tmp_path / "knees.lance")
    options = ["--options.image_size", "32"]
    result = syncsam(site, tmp_path, "prepare", "Knees", str(release), table, *options)
    assert result.returncode == 0, result.stdout + result.stderr
    (line,) = (tmp_path / "knees.skipped.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "path": str(release / "labels" / "k5.png"),
        "reason": "index.csv names it, but there is no such file",
        "kind": "named by the index, missing",
        "source": "",
    }
    result = run(site, tmp_path, "-c", BATCH, table)
    # Two patients to train on: one of them is taken for validation, with both its images.
    assert result.stdout.splitlines() == [
        "(2, 3, 32, 32) (6, 32, 32)",
        "[2, 2, 1]",
        "['femur', 'tibia']",
    ], result.stderr


def test_it_is_named_by_its_class_on_the_command_line(site: Path, release: Path, tmp_path: Path):
    options = ["--data", "Knees", "--data.root", str(release), "--data.batch_size", "3"]
    result = syncsam(site, tmp_path, "fit", "--config", "demo", *options, "--print_config")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "class_path: knee_data.knees.Knees" in result.stdout
    assert "batch_size: 3" in result.stdout
