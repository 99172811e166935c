"""Voxels that hold no number."""

from __future__ import annotations

import logging

import numpy as np

from syncsam_lightning.errors import BrokenInputError

log = logging.getLogger(__name__)


def finite(
    stored: np.ndarray, name: str, *, nan_is_background: bool, is_lowest_first: bool = True
) -> np.ndarray:
    """Return voxels that are all finite.

    Args:
        stored: voxels as a file holds them.
        name: of the file, for messages.
        nan_is_background: give voxels of NaN the lowest value that the others have, and warn.
        is_lowest_first: False where a negative slope stores the lowest value as the highest number.

    Raises:
        BrokenInputError: they hold infinity, or NaN that is no background, or nothing else.
    """
    if stored.dtype.kind != "f" or np.isfinite(stored).all():
        return stored
    if not nan_is_background:
        raise BrokenInputError(name, _not_finite(stored))
    missing = np.isnan(stored)
    known = stored[~missing]
    if not known.size or not np.isfinite(known).all():
        raise BrokenInputError(name, _not_finite(stored))
    log.warning(
        "%s: %d of its %d voxels hold NaN; they are taken for background and get the lowest value "
        "of the others",
        name,
        missing.sum(),
        missing.size,
    )
    return np.where(missing, known.min() if is_lowest_first else known.max(), stored)


def _not_finite(stored: np.ndarray) -> str:
    count, num_nan = int((~np.isfinite(stored)).sum()), int(np.isnan(stored).sum())
    return (
        f"holds values that are not finite: {count} of {stored.size} voxels ({num_nan} NaN, "
        f"{count - num_nan} infinite); give them a number and save it again"
    )
