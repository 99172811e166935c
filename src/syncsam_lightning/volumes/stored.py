"""NIfTI files in the numbers in which they are stored: the one reader of them."""

from __future__ import annotations

import gzip
import io
import logging
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np

from syncsam_lightning.errors import NOT_FOUND, BrokenInputError
from syncsam_lightning.volumes.volume import MAX_VOXELS, spans_space

log = logging.getLogger(__name__)

_MAX_BEHIND = 1 << 16
"""Bytes that may follow the voxels in a file."""

_MOST_INFLATED = 1032
"""Bytes that one byte of deflated data becomes at most (RFC 1951: 258 for two bits)."""

_GZIP = b"\x1f\x8b"
_NIFTI2_HEADER_SIZE = 540
_UNREADABLE = (
    nib.filebasedimages.ImageFileError,
    nib.spatialimages.HeaderDataError,
    nib.wrapstruct.WrapStructError,
    OSError,
    EOFError,
    ValueError,
    OverflowError,
    TypeError,
    LookupError,
    zlib.error,
)
_orientation: Callable[[Any], np.ndarray] = nib.io_orientation
_oriented: Callable[[Any, Any], np.ndarray] = nib.apply_orientation
_affine_of: Callable[[Any, Any], np.ndarray] = nib.orientations.inv_ornt_aff


@dataclass(frozen=True, slots=True, eq=False)
class StoredVolume:
    """A volume in the numbers in which it is stored: scaled, it may take four times the memory.

    Args:
        stored: ``(X, Y, Z)`` numbers, all finite.
        affine: ``(4, 4)`` float64, from indices to mm to the right, front and top of the patient.
        slope, intercept: a value is ``stored * slope + intercept``.
        header: of the file, None where there is none.
    """

    stored: np.ndarray
    affine: np.ndarray
    slope: float = 1.0
    intercept: float = 0.0
    header: Any = None

    def values(self, stored: np.ndarray | None = None) -> np.ndarray:
        """Return the values of all voxels or of a part of them.

        Args:
            stored: the part, as stored; None: all.

        Returns:
            of the stored dtype if there is nothing to scale, else float64.
        """
        part = self.stored if stored is None else stored
        if self.slope == 1 and self.intercept == 0:
            return part
        return part.astype(np.float64) * self.slope + self.intercept

    def upright(self) -> StoredVolume:
        """Return the volume with its axes to the right, front and top: a view, nothing is copied.

        Axes that are oblique go to the nearest, as in nibabel's ``as_closest_canonical``.
        """
        orientation = _orientation(self.affine)
        turned = _oriented(self.stored, orientation)
        affine = self.affine @ _affine_of(orientation, self.stored.shape)
        return replace(self, stored=turned, affine=affine)


def read_stored(
    path: str | os.PathLike[str], data: bytes | None = None, *, nan_is_background: bool = False
) -> StoredVolume:
    """Read a NIfTI file, 1 or 2, gzipped or not.

    An image of two axes is a volume of one slice.

    Args:
        path: of the file; only its name, for messages, if ``data`` is given.
        data: its bytes, where it is no file of its own.
        nan_is_background: give voxels of NaN the lowest value that the others have, and warn. Many
            programs mark so what lies outside the body or the field of view.

    Raises:
        BrokenInputError: the file is missing, damaged, no volume, too large, or holds values that
            are not finite.
    """
    name = os.fspath(path)
    if data is None and not Path(name).is_file():
        raise BrokenInputError(name, "file not found", kind=NOT_FOUND)
    try:
        data = Path(name).read_bytes() if data is None else data
        with _named_warnings(name):
            header = _open(_unzipped(io.BytesIO(data)))
            _check_shape(header.shape, name)
            declared = _num_bytes(header)
            _check_held(declared, data, name)
            image = type(header).from_stream(io.BytesIO(_inflated(data, declared)))
        proxy = image.dataobj
        stored = np.asarray(proxy.get_unscaled())
        slope, intercept = float(proxy.slope), float(proxy.inter)
    except _UNREADABLE as error:
        raise BrokenInputError(name, f"cannot be read as NIfTI ({error})") from error
    if stored.dtype.kind not in "iuf":
        raise BrokenInputError(name, f"holds {stored.dtype}, not plain numbers")
    if stored.dtype.kind == "f" and not np.isfinite(stored).all():
        if not nan_is_background:
            raise BrokenInputError(name, _not_finite(stored))
        stored = _without_nan(stored, name, is_lowest_first=slope >= 0)
    affine = np.asarray(image.affine, dtype=np.float64)
    if not spans_space(affine):
        raise BrokenInputError(name, "its affine does not span three axes")
    volume = StoredVolume(
        stored.reshape(_three(stored.shape), order="F"), affine, slope, intercept, image.header
    )
    if not np.isfinite(volume.values(np.array([stored.min(), stored.max()]))).all():
        raise BrokenInputError(
            name, f"is scaled by {slope:g} and {intercept:g} to values that are not finite"
        )
    return volume


def read_place(file: BinaryIO, name: str) -> tuple[tuple[int, ...], np.ndarray]:
    """Read shape ``(X, Y, Z)`` and affine ``(4, 4)``, which stand at the begin of a file.

    Args:
        file: open for reading; what follows the header is not read.
        name: of the file, for messages.

    Raises:
        BrokenInputError: the file is damaged at its begin, or no volume.
    """
    try:
        with _named_warnings(name):
            image = _open(_unzipped(file))
    except _UNREADABLE as error:
        raise BrokenInputError(name, f"cannot be read as NIfTI ({error})") from error
    _check_shape(image.shape, name)
    return _three(image.shape), np.asarray(image.affine, dtype=np.float64)


def _unzipped(file: BinaryIO) -> io.BufferedReader[Any]:
    # Buffered, so that the first bytes can be looked at in a stream that doesn't go back.
    buffered = io.BufferedReader(cast(io.RawIOBase, file))
    if buffered.peek(2)[:2] == _GZIP:
        return io.BufferedReader(gzip.GzipFile(fileobj=buffered))
    return buffered


def _num_bytes(header: Any) -> int:
    """Return where the voxels end in a file, by its header."""
    item: int = header.get_data_dtype().itemsize
    return int(header.dataobj.offset) + item * int(np.prod(header.shape, dtype=np.int64))


def _inflated(data: bytes, expected: int) -> bytes:
    """Unzip in one go, which takes a third of the time that streaming does.

    Args:
        data: of a file, gzipped or not.
        expected: bytes that the file should hold; no more than a little above are made.

    Raises:
        zlib.error: the data is damaged; each member of the file has a checksum.
        EOFError: the data ends too early.
    """
    if not data.startswith(_GZIP):
        return data
    parts: list[bytes] = []
    left = expected + _MAX_BEHIND
    while data.startswith(_GZIP) and left > 0:
        member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        parts.append(member.decompress(data, left))
        left -= len(parts[-1])
        if not member.eof:
            raise EOFError("it ends too early" if left else "it holds more than its header says")
        data = member.unused_data
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _open(stream: io.BufferedReader[Any]) -> Any:
    size = stream.peek(4)[:4]
    is_second = _NIFTI2_HEADER_SIZE in (int.from_bytes(size, order) for order in ("little", "big"))
    cls = nib.Nifti2Image if is_second else nib.Nifti1Image
    return cls.from_stream(stream)


def _three(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape, 1)[:3]


def _check_shape(shape: tuple[int, ...], name: str) -> None:
    if len(shape) < 2 or min(shape) < 1:
        raise BrokenInputError(name, f"not a volume: its shape is {shape}")
    if any(size != 1 for size in shape[3:]):
        raise BrokenInputError(
            name,
            f"not a volume: its shape is {shape}; save the part of three axes that you mean as a "
            "file of its own",
        )
    if np.prod(shape, dtype=np.float64) > MAX_VOXELS:
        raise BrokenInputError(name, f"declares {shape} voxels, over the limit")


def _not_finite(stored: np.ndarray) -> str:
    count, num_nan = int((~np.isfinite(stored)).sum()), int(np.isnan(stored).sum())
    return (
        f"holds values that are not finite: {count} of {stored.size} voxels ({num_nan} NaN, "
        f"{count - num_nan} infinite); give them a number and save it again"
    )


def _without_nan(stored: np.ndarray, name: str, *, is_lowest_first: bool) -> np.ndarray:
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
    # Where the header's slope is negative the lowest value is stored as the highest number.
    return np.where(missing, known.min() if is_lowest_first else known.max(), stored)


@contextmanager
def _named_warnings(name: str) -> Iterator[None]:
    """Say which file it is that nibabel mends the header of: its own lines don't."""
    told: set[str] = set()
    thread = threading.get_ident()

    def tell(record: logging.LogRecord) -> bool:
        if record.thread != thread:
            return True
        told.add(record.getMessage())
        return False

    nib.imageglobals.logger.addFilter(tell)
    try:
        yield
    finally:
        nib.imageglobals.logger.removeFilter(tell)
        for message in sorted(told):
            log.warning("%s: its header is not as it should be (nibabel: %s)", name, message)


def _check_held(declared: int, data: bytes, name: str) -> None:
    most = len(data) * (_MOST_INFLATED if data.startswith(_GZIP) else 1)
    if declared > most:
        raise BrokenInputError(
            name, f"declares {declared} bytes, which its {len(data)} bytes cannot hold"
        )
