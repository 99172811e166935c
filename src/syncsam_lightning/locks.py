"""Locks between processes that end with the process that holds them, however that ends."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout, lock_descriptor

log = logging.getLogger(__name__)

FOREVER = -1.0

_POLL_SECONDS = 0.1
_ANYBODY = 0o666  # in a shared folder other users must be able to lock what a killed process left
_NO_LOCKS = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK})


class ProcessLock:
    """A lock that one process at a time holds; a file stands for it, which goes with it.

    The kernel keeps it (``flock``, on Windows ``LockFileEx``) and frees it when its process ends,
    killed or not. The file is opened in order to write, since network file systems turn such a lock
    into one that needs that. A process that was forked, such as a loader worker, has no part in it,
    and neither has one that was started.

    Where the file system has no locks, a marker beside the file stands for one, made by one process
    only, and a warning says so. What a killed process of this machine left is then removed by the
    next that wants the lock; of one that was killed on another machine the marker has to be removed
    by hand.

    Args:
        path: the lock file; its folder must be there.
        text: is written into the file, to tell others who holds it.
    """

    def __init__(self, path: Path, text: str = "") -> None:
        self._path, self._text = path, text
        self._held: FileLock | SoftFileLock | None = None

    def acquire(self, timeout: float = FOREVER) -> bool:
        """Take the lock.

        Args:
            timeout: seconds to wait for another holder at most.

        Returns:
            whether this process holds it now.

        Raises:
            OSError: the file can't be made or opened.
        """
        while True:
            lock = FileLock(
                self._path,
                timeout=timeout,
                mode=_ANYBODY,
                thread_local=False,
                poll_interval=_POLL_SECONDS,
                fallback_to_soft=False,
                on_acquired=self._taken,
            )
            try:
                lock.acquire()
            except Timeout:
                return False
            except _RemovedError:
                continue
            except PermissionError as error:
                if not _removed_what_is_left(self._path, error):
                    if timeout != FOREVER:
                        return False
                    time.sleep(_POLL_SECONDS)
            except OSError as error:
                if error.errno == errno.ESTALE:  # how NFS tells that the file was removed
                    continue
                if error.errno not in _NO_LOCKS:
                    raise
                return self._mark(timeout, error)
            else:
                self._held = lock
                return True

    def release(self) -> None:
        """Let others in; a second call does nothing, nor does one in a process that was forked."""
        lock, self._held = self._held, None
        if lock is None or not lock.is_locked:
            return
        if isinstance(lock, FileLock):
            # While it is held: who opened this very file and waits for it finds out in `_taken`.
            with suppress(OSError):  # Windows removes no file that is open; filelock does then
                self._path.unlink()
        lock.release()

    def _taken(self, descriptor: int) -> None:
        try:
            is_still = os.path.samestat(self._path.stat(), os.fstat(descriptor))
        except FileNotFoundError:
            is_still = False
        if not is_still:
            raise _RemovedError
        if self._text:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, self._text.encode())

    def _mark(self, timeout: float, error: OSError) -> bool:
        marker = self._path.with_name(f"{self._path.name}.soft")
        log.warning(
            "%s: this file system has no locks (%s), so the file %s stands for one: should its "
            "process be killed on another machine, remove it there by hand",
            self._path.parent, error.strerror, marker.name,
        )  # fmt: skip
        with suppress(OSError):
            self._path.unlink()
        lock = SoftFileLock(marker, timeout=timeout, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            return False
        self._held = lock
        return True


class _RemovedError(Exception):
    """The file that was locked is no longer at its place: its former holder removed it."""


@contextmanager
def only_one(path: Path, busy: str) -> Iterator[None]:
    """Hold a lock, waiting for whoever holds it now.

    Args:
        path: see :class:`ProcessLock`.
        busy: what to tell if it has to be waited for.

    Raises:
        OSError: the lock file can't be made or opened.
    """
    lock = ProcessLock(path)
    if not lock.acquire(timeout=0):
        log.warning("%s; waiting for it", busy)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _removed_what_is_left(path: Path, refusal: PermissionError) -> bool:
    """Remove a lock file that can't be written to, another user's perhaps, unless it is held.

    Raises:
        PermissionError: that isn't allowed either.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if is_left := lock_descriptor(descriptor, blocking=False):
                path.unlink()
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise refusal from None  # there is none: it may not be made
    except OSError as error:
        raise PermissionError(
            errno.EACCES,
            f"it can't be locked ({refusal.strerror}), nor removed ({error.strerror}): ask its "
            "owner to remove it, or write to a folder of your own",
            str(path),
        ) from error
    return is_left
