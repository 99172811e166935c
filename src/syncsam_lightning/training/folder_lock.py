"""A lock on the folder of a run."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path

from syncsam_lightning.errors import SyncSAMError
from syncsam_lightning.locks import ProcessLock


class FolderInUseError(SyncSAMError):
    """Another run that is still going writes to a folder."""


_SUFFIX = ".in_use"
_PATIENCE_SECONDS = 1.0
"""Whoever only looks whether a folder is free holds its lock for a moment."""


class FolderLock:
    """Keeps other runs out of a folder until it is released; see :class:`ProcessLock`.

    Args:
        folder: need not be there; the lock is a file beside it, ``.NAME.in_use``.

    Raises:
        FolderInUseError: another run holds it; the message names its process.
        OSError: nothing can be written beside it.
    """

    def __init__(self, folder: Path) -> None:
        path = _path(folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = ProcessLock(path, f"process {os.getpid()} on {platform.node()}")
        if not self._lock.acquire(_PATIENCE_SECONDS):
            holder = _holder(path) or "another process"
            raise FolderInUseError(
                f"{folder} is in use by a run that is still going ({holder}): wait until it has "
                "ended, or give this one a folder of its own (--trainer.default_root_dir FOLDER)"
            )

    def release(self) -> None:
        """Let others in; a second call does nothing."""
        self._lock.release()


def check_is_free(folder: Path) -> None:
    """Make sure that no run holds the lock of a folder.

    Raises:
        FolderInUseError: one does; the message names its process.
    """
    if _path(folder).exists():
        with suppress(PermissionError):
            FolderLock(folder).release()


def check_all_are_free(folder: Path) -> None:
    """Make sure that no run holds the lock of a folder or of one below it.

    Raises:
        FolderInUseError: one does; the message names its process.
    """
    check_is_free(folder)
    for path in folder.rglob(_path(Path("*")).name):
        check_is_free(path.with_name(path.name[1 : -len(_SUFFIX)]))


def _path(folder: Path) -> Path:
    # Not in it: Lightning warns of a folder for checkpoints that holds anything.
    folder = folder.absolute()
    return folder.with_name(f".{folder.name}{_SUFFIX}")


def _holder(path: Path) -> str:
    with suppress(OSError):
        return path.read_bytes()[:200].decode(errors="replace")
    return ""
