"""Numbers of DICOM headers, checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from syncsam_lightning.errors import BrokenInputError


def numbers(path: Path, header: Any, name: str, count: int) -> np.ndarray | None:
    """Return the numbers of an attribute.

    Args:
        path: whose header it is, for messages.
        header: that may have the attribute.
        name: its keyword (PS3.6), such as ``PixelSpacing``.
        count: of its numbers.

    Returns:
        ``(count,)`` float64, or None if it is not there or empty.

    Raises:
        BrokenInputError: they are more or fewer, or not all finite numbers.
    """
    given = header.get(name)
    if given is None or (hasattr(given, "__len__") and not len(given)):
        return None
    try:
        values = np.asarray(given, np.float64).reshape(-1)
    except (ValueError, TypeError, OverflowError):
        values = np.zeros(0)
    if len(values) != count or not np.isfinite(values).all():
        what = "a finite number" if count == 1 else f"{count} finite numbers"
        raise BrokenInputError(str(path), f"has {name} {given}, expected {what}")
    return values


def number(path: Path, header: Any, name: str, default: int) -> int:
    """Return the one number of an attribute, ``default`` if it is not there or empty.

    Raises:
        BrokenInputError: it is more than one, or not a finite number.
    """
    values = numbers(path, header, name, 1)
    return default if values is None else int(values[0])
