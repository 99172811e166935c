"""What a hostile file is, and which promises it would break."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz import seeds

CODE = "Input: nothing in a file is executed: no pickle, no tag of YAML, no name in a config"
ESCAPE = "Input: nothing that a file names leads out of its folder"
MEMORY = "Input: what a file declares is checked before room is made for it, and nesting has an end"


class RefusedError(Exception):
    """Stands for what is listed as skipped instead of raised."""


@dataclass(frozen=True, slots=True)
class Attack:
    """A hostile file.

    Args:
        name: what it tries.
        promise: that it would break.
        run: reads it in a folder; a payload of it would make the folder ``executed`` there.
        message: part of what must be said.
    """

    name: str
    promise: str
    run: Callable[[Path], object]
    message: str


def payload(folder: Path) -> seeds.Payload:
    """Return what runs code where it is unpickled."""
    return seeds.Payload(str(folder / "executed"))
