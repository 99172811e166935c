"""Whether results can go where a user wants them, asked before minutes of work."""

from __future__ import annotations

import os
from pathlib import Path

from syncsam_lightning.errors import SyncSAMError


class OutputFolderError(SyncSAMError):
    """The folder that was given for results can't be one."""


def check_output_folder(folder: Path, option: str) -> None:
    """Raise unless a folder is there and can be written to, or can be made; nothing is made.

    Args:
        folder: for results.
        option: what the user gave it as, such as ``--output``.

    Raises:
        OutputFolderError: it is or lies in a file, or its rights forbid it.
    """
    place = folder
    # What may not be looked into counts as not there, and its parent tells the rest.
    while not os.access(place, os.F_OK) and place != place.parent:
        place = place.parent
    if not place.is_dir():
        problem = f"{place} is a file, not a folder"
    elif not os.access(place, os.W_OK | os.X_OK):
        problem = f"{place} may not be written to"
    else:
        return
    raise OutputFolderError(f"{option} {folder} can't be used: {problem}; give another folder")
