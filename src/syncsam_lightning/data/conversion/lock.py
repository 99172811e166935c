"""One preparation of a table at a time."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)


@contextmanager
def only_one(path: Path, what: str) -> Iterator[None]:
    """Hold the lock of a file, waiting for whoever holds it now.

    The lock ends with its process, however that ends. The file is removed with the lock.

    Args:
        path: the lock file; its folder must be there.
        what: is locked, for the message to who waits.
    """
    descriptor = _acquire(path, what)
    try:
        yield
    finally:
        # Removed while still held: who opened this very file and waits for it finds out below.
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _acquire(path: Path, what: str) -> int:
    told = False
    while True:
        descriptor = _open(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not told:
                log.warning("%s is being prepared by another process; waiting for it", what)
                told = True
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            log.warning("%s cannot be locked (%s): start one preparation at a time", path, error)
            return descriptor
        if _is_still(path, descriptor):
            return descriptor
        os.close(descriptor)


def _open(path: Path) -> int:
    # Another user's file can be locked through a descriptor that only reads.
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
