"""Columns of a prepared table."""

from __future__ import annotations

import pyarrow as pa

FORMAT_VERSION = 1
FORMAT_KEY = b"syncsam_lightning.format"
SETTINGS_KEY = b"syncsam_lightning.settings"

_FIELDS = [
    pa.field("id", pa.string()),
    pa.field("image", pa.large_binary()),  # see codec.py
    pa.field("stored_height", pa.int32()),
    pa.field("stored_width", pa.int32()),
    pa.field("channels", pa.int8()),  # 1 grey, 3 RGB
    pa.field("height", pa.int32()),  # of the original
    pa.field("width", pa.int32()),
    pa.field("modality", pa.string()),
    pa.field("source", pa.string()),
    pa.field("case", pa.string()),
    pa.field("slice", pa.string()),
    pa.field("split", pa.string()),
    pa.field("masks", pa.list_(pa.large_binary())),
    pa.field("labels", pa.list_(pa.string())),
    pa.field("boxes", pa.list_(pa.list_(pa.int32(), 4))),  # half open, original pixels
    pa.field("areas", pa.list_(pa.int64())),  # original pixels
    pa.field("mask_ids", pa.list_(pa.int32())),
]
COLUMNS = tuple(field.name for field in _FIELDS)


def table_schema(settings: bytes) -> pa.Schema:
    """Return the schema with our format version and the settings of the conversion in it.

    Args:
        settings: JSON; what a table must have been prepared with to fit a datamodule.
    """
    return pa.schema(
        _FIELDS, metadata={FORMAT_KEY: str(FORMAT_VERSION).encode(), SETTINGS_KEY: settings}
    )
