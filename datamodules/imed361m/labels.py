"""Labels: sparse matrices with a row of pixels for each class."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.records import NamedMask

from .arrays import read_array_header
from .rules import ChannelNames

_MAX_PIXELS = 1 << 28
_DEFLATION = 1032  # the most bytes that one deflated byte can stand for
# What zipfile and NumPy raise for damaged files (RuntimeError: encrypted, unknown compression).
_UNREADABLE = (
    ValueError,
    KeyError,
    EOFError,
    OSError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
_SHAPE = re.compile(r"\((\d+(?:\s*,\s*\d+)*)\s*,?\)$")


@dataclass(frozen=True, slots=True)
class SparseLabels:
    """The label of one image: a CSR matrix with a row for each channel.

    Args:
        shape: channels, height, width.
        starts: ``(channels + 1,)``; where each channel's pixels start in ``pixels``.
        pixels: foreground pixels, counted along the rows of the image.
    """

    shape: tuple[int, int, int]
    starts: np.ndarray
    pixels: np.ndarray

    @classmethod
    def load(cls, data: bytes, path: str) -> SparseLabels:
        """Read a ``.npz`` of the release, whose dense shape stands in its name only.

        Nothing is allocated before the headers agree with that shape, and nothing is unpickled.

        Args:
            data: bytes of the file.
            path: of the file; what it ends with is needed.

        Raises:
            BrokenInputError: the file is damaged, or holds anything else.
        """
        try:
            shape = _shape_in_name(PurePosixPath(path).stem)
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                return cls._from_archive(archive, shape)
        except _UNREADABLE as error:
            reason = error.args[0] if isinstance(error, KeyError) else error
            raise BrokenInputError(path, f"not a sparse label ({reason})") from error

    @classmethod
    def _from_archive(cls, archive: zipfile.ZipFile, shape: tuple[int, int, int]) -> SparseLabels:
        channels, pixels = shape[0], shape[1] * shape[2]
        if _member(archive, "format", (), "SU").item() not in (b"csr", "csr"):
            raise ValueError("its format is not CSR")
        stored = _member(archive, "shape", (2,), "iu").tolist()
        if stored != [channels, pixels]:
            raise ValueError(f"its shape {stored} does not agree with {shape} in its name")
        starts = _member(archive, "indptr", (channels + 1,), "iu").astype(np.int64)
        count = int(starts[-1])
        if starts[0] != 0 or (np.diff(starts) < 0).any() or count > channels * pixels:
            raise ValueError("its index pointers are out of order")
        columns = _member(archive, "indices", (count,), "iu")
        values = _member(archive, "data", (count,), "biuf")
        if count and (int(columns.min()) < 0 or int(columns.max()) >= pixels):
            raise ValueError("an index lies outside the image")
        # A stored zero is background; dropping it keeps an absent class without pixels.
        kept = values != 0
        before = np.concatenate([[0], np.cumsum(kept)])
        return cls(shape, before[starts], columns[kept])

    def masks(self, names: ChannelNames, path: str) -> list[NamedMask]:
        """Return a mask for each channel that has foreground.

        Args:
            names: class names by channel.
            path: where the label lies, for the report.
        """
        return [
            NamedMask(names[channel], _Channel(self, channel), path=f"{path}[{channel}]")
            for channel in np.flatnonzero(np.diff(self.starts)).tolist()
        ]


@dataclass(frozen=True, slots=True)
class _Channel:
    """Draws one channel when called."""

    labels: SparseLabels
    channel: int

    def __call__(self) -> np.ndarray:
        _, height, width = self.labels.shape
        mask = np.zeros(height * width, dtype=bool)
        first, last = self.labels.starts[self.channel : self.channel + 2]
        mask[self.labels.pixels[first:last]] = True
        return mask.reshape(height, width)


def _shape_in_name(stem: str) -> tuple[int, int, int]:
    found = _SHAPE.search(stem)
    shape = tuple(int(size) for size in found[1].split(",")) if found else ()
    if len(shape) == 4 and shape[3] == 1:
        shape = shape[:3]
    if len(shape) != 3 or 0 in shape:
        raise ValueError("its name does not end with (CHANNELS, HEIGHT, WIDTH, 1)")
    if shape[1] * shape[2] > _MAX_PIXELS or shape[0] > 1 << 16:
        raise ValueError(f"{shape} in its name is larger than any image of the release")
    return shape[0], shape[1], shape[2]


def _member(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], kinds: str) -> np.ndarray:
    """Read an array out of an ``.npz`` once its header says what is expected."""
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is packed by method {info.compress_type}, which NumPy never uses")
    with archive.open(info) as file:
        header = read_array_header(file)
        if header.dtype.kind not in kinds or header.dtype.itemsize > 64:
            raise ValueError(f"{name} holds {header.dtype}, not plain numbers")
        if header.shape != shape:
            raise ValueError(f"{name} has shape {header.shape} instead of {shape}")
        if header.file_size != info.file_size or info.file_size > info.compress_size * _DEFLATION:
            raise ValueError(f"{name} declares {header.file_size} bytes, which it does not hold")
        # Exactly that many: whatever else the file inflates to is never made.
        return np.frombuffer(file.read(info.file_size - header.begin), header.dtype).reshape(shape)
