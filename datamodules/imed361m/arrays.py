"""Headers of ``.npy`` files, read before anything is made room for."""

from __future__ import annotations

import math
import tokenize
from dataclasses import dataclass
from typing import IO

import numpy as np

_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
# NumPy takes no longer header either, but asks only when it has made room for it.
_LONGEST_HEADER = 10_000
# NumPy reads a header as a Python literal, and lets through what Python says of a strange one.
_UNREADABLE = (TypeError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError)


@dataclass(frozen=True, slots=True)
class ArrayHeader:
    """What a ``.npy`` file says of its array.

    Args:
        shape: each size 0 or more.
        is_fortran: whether the first index runs fastest.
        dtype: plain numbers or bytes; never objects, which only unpickling would restore.
        begin: bytes before the values.
    """

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype
    begin: int

    @property
    def count(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def file_size(self) -> int:
        """Bytes that the file must have."""
        return self.begin + self.count * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class _Header:
    """A file of which no more is read at once than a header has."""

    file: IO[bytes]

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= _LONGEST_HEADER:
            raise ValueError(f"its header has {size} bytes")
        return self.file.read(size)


def read_array_header(file: IO[bytes]) -> ArrayHeader:
    """Read the header of a ``.npy`` file; the values are next in the file then.

    Raises:
        ValueError: it is damaged, of an unknown version, or declares objects.
    """
    header = _Header(file)
    version = np.lib.format.read_magic(header)
    read = _READERS.get(version)
    if read is None:
        raise ValueError(f"version {version} is unknown")
    try:
        shape, is_fortran, dtype = read(header)
    except _UNREADABLE as error:
        raise ValueError(f"its header is damaged ({type(error).__name__})") from error
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never restored: that could run code")
    # True and False are integers to NumPy's check of a header, but no sizes to all else.
    if any(type(size) is not int or size < 0 for size in shape) or not dtype.itemsize:
        raise ValueError(f"its header declares {dtype} of shape {shape}")
    return ArrayHeader(shape, is_fortran, dtype, file.tell())
