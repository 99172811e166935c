"""The wheel carries what the tree has: package, datamodules and configs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Where a folder of the tree lies in the wheel.
PLACES = {
    "src/syncsam_lightning": "syncsam_lightning",
    "datamodules": "syncsam_datamodules",
    "configs": "syncsam_lightning/configs",
}
SHIPPED = (".py", ".yaml", ".typed")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the tree, so that no left-over of a build gets in."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("src", "datamodules", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)],
        cwd=source,
        capture_output=True,
        check=True,
    )
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel: what a user's site-packages would hold."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def tree() -> set[str]:
    return {
        f"{place}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, place in PLACES.items()
        for path in (ROOT / folder).rglob("*")
        if path.suffix in SHIPPED or path.name == "py.typed"
    }


def test_the_wheel_holds_exactly_the_files_of_the_tree(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert files == tree()


def test_the_wheel_holds_configs_datamodules_and_the_typing_mark(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        files = set(archive.namelist())
    assert {
        "syncsam_lightning/py.typed",
        "syncsam_lightning/configs/demo.yaml",
        "syncsam_datamodules/mni152.py",
    } <= files


def test_every_announced_datamodule_is_in_the_wheel(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        files = set(archive.namelist())
        (name,) = (f for f in files if f.endswith("entry_points.txt"))
        lines = archive.read(name).decode().splitlines()
    announced = [line.split(" = ")[1] for line in lines if "syncsam_datamodules" in line]
    assert len(announced) >= 4
    for target in announced:
        path = target.partition(":")[0].replace(".", "/")
        assert {f"{path}.py", f"{path}/__init__.py"} & files


def test_configs_are_found_from_an_installed_wheel(installed: Path, tmp_path: Path):
    code = (
        "import json, syncsam_lightning.cli.catalog as c;"
        "print(json.dumps([c.__file__, c.resolve_config('demo'), c.packaged_configs()]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    module, config, names = json.loads(result.stdout)
    assert Path(module).is_relative_to(installed)
    assert Path(config).is_relative_to(installed)
    configs = ROOT / "configs"
    assert names == sorted(p.relative_to(configs).as_posix() for p in configs.rglob("*.yaml"))


def test_the_licence_travels_with_the_wheel(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (f for f in archive.namelist() if f.endswith("/LICENSE"))
        assert b"Apache License" in archive.read(name)
