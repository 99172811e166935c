"""Rows of a table as they lie in it: small values ready, pixels still encoded."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from syncsam_lightning.data.codec import (
    CorruptPixelsError,
    decode_image,
    decode_mask,
    decode_mask_bits,
)
from syncsam_lightning.errors import DamagedRowError
from syncsam_lightning.geometry import PackedMasks
from syncsam_lightning.records import ImageRecord

_TEXTS = ("id", "modality", "source", "case", "slice", "split")
_SIZES = ("stored_height", "stored_width", "channels", "height", "width")
_RENAMED = {"image": "image_frame", "masks": "mask_frames"}
_DIGEST = "image_digest"
# A frame ends with the checksum of its content.
_TAIL = 4


@dataclass(frozen=True, slots=True)
class StoredRow:
    """One row whose pixels are decoded when asked for.

    Args:
        id, modality, source, case, slice, split: see :class:`syncsam_lightning.records.RawSample`.
        stored_height, stored_width, channels: shape of the stored pixels.
        height, width: size of the original image in pixels.
        image_frame: the encoded image, see :mod:`syncsam_lightning.data.codec`.
        mask_frames: the encoded masks, n of them.
        labels: class name of each mask.
        boxes: ``(n, 4)`` int32, half open, original pixels.
        areas: ``(n,)`` int64, original pixels.
        mask_ids: ``(n,)`` int32.
        image_digest: of the original pixels, see :func:`syncsam_lightning.data.codec.image_digest`;
            empty in tables of before format 3.
        name: what messages call the row.
    """

    id: str
    modality: str
    source: str
    case: str
    slice: str
    split: Any
    stored_height: int
    stored_width: int
    channels: int
    height: int
    width: int
    image_frame: bytes
    mask_frames: Sequence[bytes]
    labels: Sequence[str]
    boxes: np.ndarray
    areas: np.ndarray
    mask_ids: np.ndarray
    image_digest: bytes = b""
    name: str = ""

    @property
    def num_masks(self) -> int:
        """Number of objects on the image."""
        return len(self.mask_frames)

    def image(self) -> np.ndarray:
        """Decode the image: ``(h, w, 1 or 3)`` uint8.

        Raises:
            DamagedRowError: the pixels are damaged.
        """
        try:
            return decode_image(
                self.image_frame, (self.stored_height, self.stored_width, self.channels)
            )
        except CorruptPixelsError as error:
            raise self.damaged(str(error)) from error

    def mask(self, index: int) -> np.ndarray:
        """Decode one mask: ``(h, w)`` bool.

        Raises:
            DamagedRowError: the pixels are damaged.
        """
        return self._decoded(index, decode_mask)

    def packed_masks(self) -> PackedMasks:
        """Decode all masks as far as their bits: n masks ``(h, w)``.

        Raises:
            DamagedRowError: the pixels of one are damaged.
        """
        height, width = self.stored_height, self.stored_width
        bits = np.empty((self.num_masks, -(-height * width // 8)), np.uint8)
        for index in range(self.num_masks):
            bits[index] = self._decoded(index, decode_mask_bits)
        return PackedMasks(torch.from_numpy(bits), height, width)

    def _decoded(
        self, index: int, decode: Callable[[bytes, tuple[int, int]], np.ndarray]
    ) -> np.ndarray:
        try:
            return decode(self.mask_frames[index], (self.stored_height, self.stored_width))
        except CorruptPixelsError as error:
            raise self.damaged(f"mask {self.mask_ids[index]}: {error}") from error

    def masks(self) -> np.ndarray:
        """Decode all masks: ``(n, h, w)`` bool.

        Raises:
            DamagedRowError: the pixels of one are damaged.
        """
        return np.stack([self.mask(index) for index in range(self.num_masks)])

    def with_masks(self, kept: Sequence[int]) -> StoredRow:
        """Return the row with some of its masks, which keep their ``mask_ids``."""
        return replace(
            self,
            mask_frames=[self.mask_frames[index] for index in kept],
            labels=[self.labels[index] for index in kept],
            boxes=self.boxes[kept],
            areas=self.areas[kept],
            mask_ids=self.mask_ids[kept],
        )

    def record(self) -> ImageRecord:
        """Decode everything.

        Raises:
            DamagedRowError: the pixels are damaged.
        """
        return ImageRecord(
            id=self.id,
            image=self.image(),
            masks=self.masks(),
            height=self.height,
            width=self.width,
            labels=tuple(self.labels),
            boxes=self.boxes.astype(np.float32),
            areas=self.areas.astype(np.int64),
            mask_ids=self.mask_ids.astype(np.int64),
            modality=self.modality,
            source=self.source,
            case=self.case,
            slice=self.slice,
            split=self.split,
        )

    def checksum(self) -> int:
        """Return the CRC-32 of the row.

        It covers every value, and of the image and each mask the length and the last four bytes.
        Those are the checksum of its pixels, which decoding verifies: so the pixels are covered
        too, including those of another row that a damaged offset would bring here.
        """
        texts = [getattr(self, name) for name in _TEXTS]
        frames = [self.image_frame, *self.mask_frames]
        numbers = [getattr(self, name) for name in _SIZES] + [len(frame) for frame in frames]
        crc = zlib.crc32("\0".join([*texts, *self.labels]).encode())
        crc = zlib.crc32(struct.pack(f"<{len(numbers)}q", *numbers), crc)
        crc = zlib.crc32(b"".join(frame[-_TAIL:] for frame in frames), crc)
        for values, kind in ((self.boxes, "<i4"), (self.areas, "<i8"), (self.mask_ids, "<i4")):
            crc = zlib.crc32(values.astype(kind, copy=False).tobytes(), crc)
        return zlib.crc32(self.image_digest, crc)

    def damaged(self, reason: str) -> DamagedRowError:
        """Return the error for a row that is not what was written."""
        name = f"{self.name} (image {self.id})" if self.name else f"image {self.id}"
        return DamagedRowError(f"{name} is damaged: {reason}; prepare the table again")


def stored_rows(table: pa.Table, names: Sequence[str] = ()) -> Iterator[StoredRow]:
    """Yield the rows of an Arrow table with the columns of :mod:`syncsam_lightning.data.schema`.

    Args:
        table: the rows.
        names: what messages call them; empty: by their id.

    Raises:
        ValueError: the columns don't fit together.
    """
    # Column by column: rows as Python objects would take longer than decoding their pixels.
    values: dict[str, Sequence[Any]] = {
        name: table[name].to_pylist() for name in (*_TEXTS, *_SIZES, *_RENAMED, "labels")
    }
    values |= {name: list(_lists(table[name])) for name in ("boxes", "areas", "mask_ids")}
    if _DIGEST in table.column_names:
        values[_DIGEST] = table[_DIGEST].to_pylist()
    fields = {_RENAMED.get(name, name): column for name, column in values.items()}
    fields["name"] = names or [""] * table.num_rows
    for row in zip(*fields.values(), strict=True):
        yield StoredRow(**dict(zip(fields, row, strict=True)))


def _lists(column: pa.ChunkedArray) -> Iterator[np.ndarray]:
    """Yield the lists of a column of numbers, or of number tuples, as views of one array."""
    for chunk in column.chunks:
        values = chunk.flatten()
        width = 1
        if pa.types.is_fixed_size_list(values.type):
            width, values = values.type.list_size, values.flatten()
        numbers = values.to_numpy(zero_copy_only=False)
        if width > 1:
            numbers = numbers.reshape(-1, width)
        bounds = chunk.offsets.to_numpy()
        for first, last in zip(bounds[:-1] - bounds[0], bounds[1:] - bounds[0], strict=True):
            yield numbers[first:last]
