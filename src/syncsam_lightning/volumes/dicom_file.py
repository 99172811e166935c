"""DICOM files: read no further than they go, and refused in our own words."""

from __future__ import annotations

import importlib
import io
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from syncsam_lightning.errors import BrokenInputError, MissingPackageError

_MAGIC_AT, _MAGIC = 128, b"DICM"
_DEFLATED = b"1.2.840.10008.1.2.1.99"  # transfer syntax of PS3.5 A.5
_GROUP_LENGTH = b"\x02\0\0\0UL\x04\0"
_MAX_META = 1 << 16  # bytes at the begin of a file that its transfer syntax is looked for in
MAX_INFLATED = 1 << 29
"""Most bytes that a deflated file may hold: pydicom inflates all of it before it reads a size."""


def need(name: str) -> ModuleType:
    """Import a package of the extra ``dicom``.

    Raises:
        MissingPackageError: it isn't installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingPackageError(
            f"DICOM needs the package {name.split('.')[0]}, which cannot be imported ({error}): "
            "pip install 'syncsam-lightning[dicom]'"
        ) from error


@contextmanager
def refusing(path: Path, what: str) -> Iterator[None]:
    """Say in our words what pydicom and its decoders raise for a damaged file.

    Raises:
        BrokenInputError: the block raised one of these; ``what`` and their reason.
    """
    pydicom = need("pydicom")
    try:
        yield
    except pydicom.errors.InvalidDicomError as error:
        raise BrokenInputError(str(path), "not a DICOM file") from error
    except (
        OSError,
        EOFError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        RuntimeError,
        struct.error,
        zlib.error,
        pydicom.errors.BytesLengthException,
    ) as error:
        reason = " ".join(str(error).split())
        raise BrokenInputError(str(path), f"{what} ({reason})") from error


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do (it may have any name or none to speak of)."""
    try:
        with path.open("rb") as file:
            file.seek(_MAGIC_AT)
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


class _Bounded(io.BufferedReader):
    """A file that reads no more than it holds.

    Python makes room for what is asked for before it reads, and pydicom asks for as much as a
    damaged element says that it has: up to 4 GiB.
    """

    def __init__(self, path: Path) -> None:
        # As text: pydicom's messages add the name of the file to others.
        super().__init__(io.FileIO(str(path)))
        self._held = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to ``size`` bytes; all if it is None or negative."""
        if size is None or size < 0:
            return super().read()
        return super().read(max(0, min(size, self._held - self.tell())))


def read_dataset(path: Path, **options: Any) -> Any:
    """Read a file as a dataset of pydicom.

    Args:
        path: of the file.
        options: of ``pydicom.dcmread``.

    Raises:
        BrokenInputError: it is damaged, or not DICOM.
        MissingPackageError: pydicom is not installed.
    """
    with refusing(path, "cannot be read"), _Bounded(path) as file:
        _check_inflated(path, file)
        return need("pydicom").dcmread(file, **options)


def _check_inflated(path: Path, file: io.BufferedReader) -> None:
    """Refuse a deflated file that holds more than may be; inflated piece by piece."""
    begin = file.read(_MAX_META)
    file.seek(0)
    if _DEFLATED not in begin:
        return
    # Behind the magic word and the element that has the length of the others (PS3.10 7.1).
    at = _MAGIC_AT + len(_MAGIC) + len(_GROUP_LENGTH) + 4
    if not begin[:at].endswith(_GROUP_LENGTH, 0, at - 4):
        raise BrokenInputError(str(path), "does not say where its deflated part begins")
    file.seek(at + int.from_bytes(begin[at - 4 : at], "little"))
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    held, data = 0, file.read(_MAX_META)
    while data and not inflater.eof:
        held += len(inflater.decompress(data, _MAX_META))
        if held > MAX_INFLATED:
            raise BrokenInputError(
                str(path), f"inflates to more than {MAX_INFLATED:,} bytes: save it uncompressed"
            )
        data = inflater.unconsumed_tail or file.read(_MAX_META)
    file.seek(0)


def read_header(path: Path, tags: Sequence[str] | None = None) -> Any:
    """Read a file without its pixels.

    Args:
        path: of the file.
        tags: keywords (PS3.6) of the attributes that are wanted; None: all.

    Raises:
        BrokenInputError: it is damaged, or not DICOM.
        MissingPackageError: pydicom is not installed.
    """
    only = None if tags is None else list(tags)
    header = read_dataset(path, stop_before_pixels=True, specific_tags=only)
    # Values are made from their bytes when they are first looked at: here, where it may fail.
    with refusing(path, "cannot be read"):
        for _ in (*header.file_meta, *header):
            pass
    return header
