"""Whether a table was made as it is asked for now."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from syncsam_lightning.data.table import Table
from syncsam_lightning.errors import TableError

log = logging.getLogger(__name__)

SLICE = "slice"
"""Key of what a table keeps of the filter that it was made with."""


def check_settings(table: Table, wanted: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """Make sure that a table was made with the settings that are asked for.

    Args:
        table: that is there.
        wanted: what shapes a table; ``image_size`` need not be the same, since images are resized
            when they are read: one table serves models of all sizes.
        before: what settings meant for tables that were made before there were these settings.

    Raises:
        TableError: one of them is another.
    """
    stored = table.settings
    if not stored:
        return
    if "seed" in stored:  # the name of split_seed in tables of earlier versions
        stored = {"split_seed": stored["seed"], **stored}
    stored = {**before, **stored}
    for key, value in wanted.items():
        if key != "image_size" and key in stored and stored[key] != value:
            raise TableError(
                f"{table} was prepared with {key}={stored[key]!r}, but "
                f"{key}={value!r} is asked for: give another data.table to prepare a new "
                "one, or use the setting it was made with"
            )
    _warn_of_small_images(table, stored.get("image_size"), wanted["image_size"])
    if SLICE in stored:
        log.info("%s holds a slice of its release (%s)", table, _told(stored[SLICE]))


def check_slice(table: Table, wanted: Mapping[str, list[str]]) -> None:
    """Make sure that a table holds the slice of its release that is asked for.

    Args:
        table: that is there.
        wanted: names by setting of a filter; empty: the whole release.

    Raises:
        TableError: it holds another.
    """
    stored = table.settings.get(SLICE, {})
    if stored != wanted:
        raise TableError(
            f"{table} is there and holds {_told(stored)}, but {_told(wanted)} is asked for: give "
            "another table to prepare a new one"
        )


def _told(chosen: Mapping[str, list[str]]) -> str:
    return ", ".join(f"{key}: {', '.join(names)}" for key, names in chosen.items()) or "all of it"


def _warn_of_small_images(table: Table, stored: int | None, wanted: int) -> None:
    if stored is not None and stored < wanted:
        log.warning(
            "%s keeps training images with a long side of %d pixels, which are enlarged to %d "
            "here; for sharper ones prepare a table of its own with image_size %d (images for "
            "validation and testing keep their size in every table)",
            table, stored, wanted, wanted,
        )  # fmt: skip
