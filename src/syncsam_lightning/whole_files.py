"""Files that are whole or absent, whatever happens while they are written.

What is being written has a name of its own beside its place, and is locked. A lock ends with its
process, however that ends: what a killed one left is told from what a live one is writing, and the
next that writes to the folder removes it.

The lock lies on the very file that is written, which the descriptor of its writer holds; so it is
taken by descriptor, not by name as :class:`~syncsam_lightning.locks.ProcessLock` does. Network file
systems lock no folders: folders that a killed process left there stay.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from filelock import lock_descriptor

_UNFINISHED = ".saving-{}.tmp"
_swept: set[Path] = set()


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that appears under its name, on disk, when the block ends without an error.

    Args:
        path: of the file; replaced if it is there already. Its folder must be there.

    Yields:
        the file to write to.

    Raises:
        OSError: it can't be written; what was at ``path`` is whole.
    """
    _sweep(path.parent)
    partial, descriptor = _open_new(path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
            # While it is locked: afterwards it would look like one that was left behind.
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)


@contextmanager
def work_folder(parent: Path) -> Iterator[Path]:
    """Make a folder to prepare files in, and remove it afterwards with what is left in it.

    Args:
        parent: where the files are to be renamed to: the same disk, then. It must be there.

    Raises:
        OSError: the folder can't be made.
    """
    _sweep(parent)
    folder, descriptor = _open_new(parent, is_folder=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open_new(parent: Path, *, is_folder: bool = False) -> tuple[Path, int]:
    """Make something that is locked, and return it with its open descriptor."""
    while True:
        path = parent / _UNFINISHED.format(uuid4().hex)
        if is_folder:
            path.mkdir()
        flags = os.O_RDONLY if is_folder else os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            descriptor = os.open(path, flags, 0o666)
        except FileNotFoundError:
            if is_folder and parent.exists():
                continue
            raise
        with suppress(OSError):  # where there are no locks, nothing is swept away either
            lock_descriptor(descriptor)
        if path.exists():
            return path, descriptor
        os.close(descriptor)  # swept away before it was locked


def _sweep(folder: Path) -> None:
    """Remove what processes that are gone left in a folder; looked for once by each process."""
    folder = folder.absolute()
    if folder in _swept:
        return
    _swept.add(folder)
    for path in folder.glob(_UNFINISHED.format("*")):
        with suppress(OSError):  # a live process holds it; or it is another user's, or gone by now
            _remove_if_left(path)


def _remove_if_left(path: Path) -> None:
    # A file is opened in order to write: network file systems lock no other.
    access = os.O_RDONLY if path.is_dir() else os.O_RDWR
    descriptor = os.open(path, access | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if not lock_descriptor(descriptor, blocking=False):
            return
        if access == os.O_RDONLY:
            shutil.rmtree(path)
        else:
            path.unlink()
    finally:
        os.close(descriptor)
