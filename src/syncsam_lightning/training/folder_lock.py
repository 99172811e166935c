"""A lock on a folder that ends with its process."""

from __future__ import annotations

import fcntl
import logging
import os
import platform
from contextlib import suppress
from pathlib import Path

from syncsam_lightning.errors import SyncSAMError

log = logging.getLogger(__name__)


class FolderInUseError(SyncSAMError):
    """Another run that is still going writes to a folder."""


_SUFFIX = ".in_use"


class FolderLock:
    """Keeps the runs of other processes out of a folder until it is released.

    The kernel frees the lock when the process ends, however that ends. Processes that this one
    forks (loader workers, which may outlive it for seconds) have no part in it, hence a record
    lock (``lockf``), which is not inherited as ``flock`` is.

    Args:
        folder: need not be there; the lock is a file beside it, ``.NAME.in_use``.

    Raises:
        FolderInUseError: another process holds it; the message names that process.
        OSError: nothing can be written beside it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = _path(folder)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor: int | None = _acquire(folder)
        text = f"process {os.getpid()} on {platform.node()}"
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, text.encode(), 0)

    def release(self) -> None:
        """Let others in; a second call does nothing."""
        if self._descriptor is not None:
            # Removed while still held: who opened this very file finds out once it has the lock.
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None


def check_is_free(folder: Path) -> None:
    """Make sure that no other process holds the lock of a folder.

    Raises:
        FolderInUseError: one does; the message names it.
    """
    # Opened in order to write, which such a lock asks for.
    with suppress(FileNotFoundError, PermissionError):
        descriptor = os.open(_path(folder), os.O_RDWR)
        try:
            _lock(descriptor, folder)
        finally:
            os.close(descriptor)


def check_all_are_free(folder: Path) -> None:
    """Make sure that no other process holds the lock of a folder or of one below it.

    Raises:
        FolderInUseError: one does; the message names it.
    """
    check_is_free(folder)
    for path in folder.rglob(_path(Path("*")).name):
        check_is_free(path.with_name(path.name[1 : -len(_SUFFIX)]))


def _path(folder: Path) -> Path:
    # Not in it: Lightning warns of a folder for checkpoints that holds anything.
    folder = folder.absolute()
    return folder.with_name(f".{folder.name}{_SUFFIX}")


def _acquire(folder: Path) -> int:
    path = _path(folder)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(descriptor, folder)
            if path.exists() and os.path.samestat(path.stat(), os.fstat(descriptor)):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:  # POSIX allows either
        holder = os.pread(descriptor, 200, 0).decode(errors="replace") or "another process"
        raise FolderInUseError(
            f"{folder} is in use by a run that is still going ({holder}): wait until it has ended, "
            "or give this one a folder of its own (--trainer.default_root_dir FOLDER)"
        ) from error
    except OSError as error:
        log.warning("%s cannot be locked (%s): start one run at a time there", folder, error)
