"""A release like SA-Med2D-20M, generated: a zip archive in parts with as many tiny images as asked.

Pixels are few and drawn from their number, so that a million files take seconds to write.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

STEM = "SA-Med2D-16M"
CLASSES = {"Eyes": {"disc": 0, "cup": 1}, "AMOS2022": {"liver": 0, "spleen": 1}}
_SIDE = 12
_LOCAL_EXTRA = b"UT\x09\0\3" + bytes(8)  # as Info-ZIP writes times
_CENTRAL_EXTRA = b"UT\x05\0\3" + bytes(4)


@dataclass
class Written:
    """Where the release lies, and how large some of it is.

    Args:
        parts: the files of the archive.
        directory: bytes of its directory.
        index: bytes of the two JSON files, headers included.
        sizes: bytes of each other file, headers included, by name.
    """

    parts: list[Path]
    directory: int
    index: int
    sizes: dict[str, int]

    def needed(self, *words: str) -> int:
        """Return the bytes of the images and masks that have all of the words in their names."""
        return sum(n for name, n in self.sizes.items() if all(word in name for word in words))


def stems(images: int, every: int) -> Iterator[str]:
    """Yield the names of images: each ``every``-th is of the fundus, the others are slices."""
    for number in range(images):
        if number % every == 0:
            yield f"fundus_photography--Eyes--eye_{number:07d}--2d_none"
        else:
            yield f"ct_00--AMOS2022--case_{number // 40:06d}--z_{number % 40:04d}"


def write_release(
    folder: Path,
    images: int,
    *,
    every: int = 7,
    part_size: int = 1 << 20,
    seed: int = 0,
    lost: Sequence[int] = (),
) -> Written:
    """Write the archive with two masks for each image: all masks first, then all images.

    Args:
        folder: for its parts.
        images: how many.
        every: see :func:`stems`.
        part_size: bytes of each part but the last.
        seed: other seeds store the files in another order; masks and images by themselves.
        lost: numbers of images that the index names and that are not in the archive.
    """
    order = np.random.default_rng(seed).permutation(images).tolist() if seed else range(images)
    order = [number for number in order if number not in lost]
    names = list(stems(images, every))
    parts = _Parts(folder, part_size)
    directory = io.BytesIO()
    sizes: dict[str, int] = {}

    def put(name: str, data: bytes) -> int:
        raw = f"SAMed2Dv1/{name}".encode()
        numbers = (zlib.crc32(data), len(data), len(data), len(raw))
        head = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 0, *numbers, len(_LOCAL_EXTRA))
        part, offset = parts.write(head + raw + _LOCAL_EXTRA + data)
        directory.write(
            struct.pack(
                "<4s4B4H3L5H2L", b"PK\1\2", 30, 3, 20, 0, 0, 0, 0, 0, *numbers,
                len(_CENTRAL_EXTRA), 0, part, 0, 0o100644 << 16, offset,
            )
        )  # fmt: skip
        directory.write(raw + _CENTRAL_EXTRA)
        return len(head) + len(raw) + len(_LOCAL_EXTRA) + len(data)

    index = {f"images/{n}.png": [f"masks/{n}--{c:04d}_000.png" for c in (0, 1)] for n in names}
    head = put("SAMed2D_v1.json", json.dumps(index).encode())
    for number in order:
        for label in (0, 1):
            name = f"masks/{names[number]}--{label:04d}_000.png"
            sizes[name] = put(name, _mask(number % 5, label))
    for number in order:
        name = f"images/{names[number]}.png"
        sizes[name] = put(name, _image(number % 97))
    head += put("SAMed2D_v1_class_mapping_id.json", json.dumps(CLASSES).encode())
    begin = parts.address()
    count = 3 * len(order) + 2
    table = directory.getvalue()
    parts.write(table)
    last, at = parts.address()
    parts.write(
        struct.pack(
            "<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, last, begin[0], count, count, len(table), begin[1]
        )
    )
    parts.write(struct.pack("<4sLQL", b"PK\6\7", last, at, last + 1), whole=True)
    parts.write(
        struct.pack(
            "<4s4H2LH", b"PK\5\6", last, begin[0], 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0
        ),
        whole=True,
    )
    return Written(parts.close(), len(table), head, sizes)


class _Parts:
    """Files of one size that are written one after the other."""

    def __init__(self, folder: Path, size: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._size = folder, size
        self._paths: list[Path] = []
        self._next()

    def _next(self) -> None:
        self._paths.append(self._folder / f"{STEM}.z{len(self._paths) + 1:02d}")
        self._file = self._paths[-1].open("wb")
        self._left = self._size

    def address(self) -> tuple[int, int]:
        return len(self._paths) - 1, self._size - self._left

    def write(self, data: bytes, *, whole: bool = False) -> tuple[int, int]:
        """Write and return where it begins; the end records are not cut."""
        if not self._left and not whole:
            self._file.close()
            self._next()
        begin = self.address()
        while data:
            piece = data if whole else data[: self._left]
            self._file.write(piece)
            self._left -= len(piece)
            data = data[len(piece) :]
            if data:
                self._file.close()
                self._next()
        return begin

    def close(self) -> list[Path]:
        self._file.close()
        self._paths[-1] = self._paths[-1].replace(self._folder / f"{STEM}.zip")
        return self._paths


@cache
def _image(kind: int) -> bytes:
    rng = np.random.default_rng(kind)
    return _png(rng.integers(0, 256, (_SIDE, _SIDE, 3), np.uint8))


@cache
def _mask(kind: int, label: int) -> bytes:
    mask = np.zeros((_SIDE, _SIDE), np.uint8)
    mask[1 + kind : 6 + kind, label : label + 4] = 255
    return _png(mask)


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()
