"""Albumentations takes seconds to import, so only a configured augmentation brings it in."""

import subprocess
import sys

import pytest

RUN = """
import sys
{}
print(*(name for name in ("albumentations", "albucore") if name in sys.modules))
"""

PACKAGES = """
import importlib, pkgutil
import syncsam_lightning.data
for module in pkgutil.walk_packages(syncsam_lightning.data.__path__, "syncsam_lightning.data."):
    if not module.name.endswith(".augmentation"):
        importlib.import_module(module.name)
"""

COMMANDS = [
    PACKAGES,
    "import syncsam_lightning.data.plugins as p; p.load_datamodules()",
    "import syncsam_lightning.cli.lightning_cli",  # fit, validate, test, predict of a table
    "import syncsam_lightning.cli.predict, syncsam_lightning.prediction",
    "import syncsam_lightning.cli.prepare, syncsam_lightning.commands.prepare",
]


@pytest.mark.parametrize("imports", COMMANDS, ids=["data", "plugins", "fit", "predict", "prepare"])
def test_albumentations_is_not_imported(imports: str):
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(imports)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
