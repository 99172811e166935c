"""What a fuzzed reader is, and what it may do."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from syncsam_lightning.errors import SyncSAMError


@dataclass(frozen=True, slots=True)
class Target:
    """A reader.

    Args:
        run: reads bytes; raises for anything but a result or an error of ours.
        seeds: makes files that it can read, and some that it must refuse.
    """

    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]


def refused(read: Callable[[], object]) -> None:
    """Run a reader that may refuse in our own words; let any other exception through."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read()
    except SyncSAMError as error:
        if not str(error):
            raise AssertionError("an error without a message") from error


@cache
def folder() -> Path:
    """Return a folder of this process for readers that need a path."""
    return Path(tempfile.mkdtemp(prefix="fuzz-"))


def written(name: str, data: bytes) -> Path:
    """Write a file and return its path."""
    path = folder() / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path
