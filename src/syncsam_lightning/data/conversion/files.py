"""A folder forced to disk with all that is in it."""

from __future__ import annotations

import os
from pathlib import Path

from syncsam_lightning.whole_files import sync_folder


def sync_tree(folder: Path) -> None:
    """Force everything under a folder to disk, so that a power cut cannot take part of it."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        else:
            sync_folder(path)
    sync_folder(folder)
