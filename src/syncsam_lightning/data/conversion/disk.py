"""Telling a full disk from other troubles of storage."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from syncsam_lightning.errors import ConversionError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Libraries that are not Python's tell the number of the system's error in their message alone.
_NUMBER = re.compile(r"os error (\d+)")


@contextmanager
def told_when_full(folder: Path) -> Iterator[None]:
    """Turn the error of a full disk into one that says what to do.

    Args:
        folder: of the unfinished work, which is kept.

    Raises:
        ConversionError: the disk is full, or a quota or limit of file sizes is reached.
    """
    try:
        yield
    except OSError as error:
        numbers = [error.errno, *(int(text) for text in _NUMBER.findall(str(error)))]
        if not any(number in _FULL for number in numbers):
            raise
        try:
            free = f"{shutil.disk_usage(folder.parent).free / 1e9:.1f} GB are free"
        except OSError:
            free = "how much is free is not known"
        raise ConversionError(
            f"no space left for {folder} ({free}, or a quota or limit of file sizes is reached): "
            "make room and run the same command; it goes on from what is finished"
        ) from error
