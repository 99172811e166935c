"""Writing results so that none is ever half there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Make a file appear whole or not at all.

    Args:
        path: of the file; its folder is there.
        write: fills the file whose path it is given, which then takes its place.
    """
    partial = path.with_name(f".{path.name}.partial")
    write(partial)
    partial.replace(path)
