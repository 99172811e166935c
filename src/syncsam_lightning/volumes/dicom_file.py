"""DICOM files: read no further than they go, and refused in our own words."""

from __future__ import annotations

import importlib
import io
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from syncsam_lightning.errors import BrokenInputError, MissingPackageError

_MAGIC_AT, _MAGIC = 128, b"DICM"


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
        return need("pydicom").dcmread(file, **options)


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
