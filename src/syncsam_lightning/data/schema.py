"""Columns of a prepared table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from syncsam_lightning.data.codec import DIGEST_SIZE
from syncsam_lightning.data.row import stored_rows

FORMAT_VERSION = 3
"""2 added the checksum, 3 the digest of the image; older tables are read without them. Before 3,
masks of training rows were resized to half a pixel off their images."""

TRAINABLE_SINCE = 3

FORMAT_KEY = b"syncsam_lightning.format"
SETTINGS_KEY = b"syncsam_lightning.settings"
CHECKSUM = "checksum"
IMAGE_DIGEST = "image_digest"

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
_DIGEST_FIELD = pa.field(IMAGE_DIGEST, pa.binary(DIGEST_SIZE))  # see image_digest in codec.py
_CHECKSUM_FIELD = pa.field(CHECKSUM, pa.uint32())  # see StoredRow.checksum
COLUMNS = tuple(field.name for field in _FIELDS)
"""The columns of every format."""


def columns_of_format(version: int) -> tuple[str, ...]:
    """Return the columns of a format version."""
    added = (CHECKSUM,) if version > 1 else ()
    return (*COLUMNS, *added, IMAGE_DIGEST) if version > 2 else (*COLUMNS, *added)


def table_schema(settings: bytes) -> pa.Schema:
    """Return the schema with our format version and the settings of the conversion in it.

    Args:
        settings: JSON; what a table must have been prepared with to fit a datamodule.
    """
    return pa.schema(
        [*_FIELDS, _DIGEST_FIELD, _CHECKSUM_FIELD],
        metadata={FORMAT_KEY: str(FORMAT_VERSION).encode(), SETTINGS_KEY: settings},
    )


def record_batch(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Return rows as they are written to a table, each with its checksum.

    Args:
        rows: a value for each of :data:`COLUMNS` and for :data:`IMAGE_DIGEST`.
        schema: of :func:`table_schema`.
    """
    batch = pa.RecordBatch.from_pylist(list(rows), schema=pa.schema([*_FIELDS, _DIGEST_FIELD]))
    return with_checksums(batch, schema)


def with_checksums(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch with the checksum of each row appended.

    Args:
        batch: with :data:`COLUMNS` and :data:`IMAGE_DIGEST`, in any order.
        schema: of :func:`table_schema`.
    """
    checksums = [row.checksum() for row in stored_rows(pa.Table.from_batches([batch]))]
    fields = [*_FIELDS, _DIGEST_FIELD]
    columns = [batch.column(field.name).cast(field.type) for field in fields]
    return pa.RecordBatch.from_arrays([*columns, pa.array(checksums, pa.uint32())], schema=schema)
