"""NIfTI files in the numbers in which they are stored: the one reader of them."""

from __future__ import annotations

import gzip
import io
import logging
import os
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np

from syncsam_lightning.errors import NOT_FOUND, BrokenInputError
from syncsam_lightning.volumes.finite import finite
from syncsam_lightning.volumes.gzipped import MOST_INFLATED, inflated, is_gzipped, plain_stream
from syncsam_lightning.volumes.place import Place
from syncsam_lightning.volumes.volume import MAX_VOXELS, Volume, spans_space

log = logging.getLogger(__name__)

MAX_EXTENSION = 1 << 26
"""Bytes of the largest header extension that is passed over; a file that declares more is refused.
Whole DICOM headers as JSON, the largest that are usual, take a few MiB."""

_MAX_BEHIND = 1 << 16
"""Bytes that may follow the voxels in a file."""

_NIFTI2_HEADER_SIZE = 540
_MILLIMETRES = {1: 1e3, 3: 1e-3}  # NIFTI_UNITS_METER and NIFTI_UNITS_MICRON of nifti1.h
_UNREADABLE = (
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


def read_stored(
    path: str | os.PathLike[str], data: bytes | None = None, *, nan_is_background: bool = False
) -> Volume:
    """Read a NIfTI file, 1 or 2, gzipped or not.

    An image of two axes is a volume of one slice. Lengths in metres or micrometres (the header's
    ``xyzt_units``) become millimetres; where it names no unit they are millimetres, as is usual.
    Header extensions are passed over.

    Args:
        path: of the file; only its name, for messages, if ``data`` is given.
        data: its bytes, where it is no file of its own.
        nan_is_background: give voxels of NaN the lowest value that the others have, and warn. Many
            programs mark so what lies outside the body or the field of view.

    Returns:
        the volume in the numbers in which it is stored, all finite; see :meth:`Volume.values`.

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
            header = _header(plain_stream(io.BytesIO(data)))
        shape, dtype = header.get_data_shape(), header.get_data_dtype()
        _check_shape(shape, name)
        begin, end = _offset(header, name), _end(header, name)
        _check_held(end, len(data), is_gzipped(data), name)
        content = inflated(data, end + _MAX_BEHIND)
        if len(content) < end:
            raise EOFError(f"it ends after {len(content)} of {end} bytes")
        slope, intercept = header.get_slope_inter()
        affine = _affine(header)
    except _UNREADABLE as error:
        raise BrokenInputError(name, f"cannot be read as NIfTI ({error})") from error
    if dtype.kind not in "iuf":
        raise BrokenInputError(name, f"holds {dtype}, not plain numbers")
    slope, intercept = 1.0 if slope is None else slope, 0.0 if intercept is None else intercept
    stored = np.ndarray(_three(shape), dtype, content, begin, order="F")
    stored = finite(stored, name, nan_is_background=nan_is_background, is_lowest_first=slope >= 0)
    _check_spans(affine, name)
    volume = Volume(
        stored,
        affine,
        (Path(name),),
        header=header,
        slope=slope,
        intercept=intercept,
        has_spacing=_has_spacing(header),
    )
    if not np.isfinite(volume.values(np.array([stored.min(), stored.max()]))).all():
        raise BrokenInputError(
            name, f"is scaled by {slope:g} and {intercept:g} to values that are not finite"
        )
    return volume


def read_place(file: BinaryIO, name: str, size: int) -> Place:
    """Read shape and affine, which stand at the begin of a file.

    Args:
        file: open for reading; what follows the header is not read.
        name: of the file, for messages.
        size: bytes of the file, which must be able to hold the voxels.

    Raises:
        BrokenInputError: the file is damaged at its begin, or no volume.
    """
    try:
        with _named_warnings(name):
            stream = plain_stream(file)
            header = _header(stream)
        shape = header.get_data_shape()
        _check_shape(shape, name)
        _check_held(_end(header, name), size, isinstance(stream.raw, gzip.GzipFile), name)
        affine = _affine(header)
    except _UNREADABLE as error:
        raise BrokenInputError(name, f"cannot be read as NIfTI ({error})") from error
    _check_spans(affine, name)
    return Place(_three(shape), affine)


def _header(stream: io.BufferedReader[Any]) -> Any:
    """Read the part of a header that has a fixed size."""
    size = stream.peek(4)[:4]
    is_second = _NIFTI2_HEADER_SIZE in (int.from_bytes(size, order) for order in ("little", "big"))
    kind: Any = nib.Nifti2Header if is_second else nib.Nifti1Header
    return kind(stream.read(kind.template_dtype.itemsize))


def _affine(header: Any) -> np.ndarray:
    """Return the affine in millimetres."""
    affine = np.array(header.get_best_affine(), dtype=np.float64)
    affine[:3] *= _MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0)
    return affine


def _check_spans(affine: np.ndarray, name: str) -> None:
    if not spans_space(affine):
        raise BrokenInputError(name, "its affine does not span three axes")


def _has_spacing(header: Any) -> bool:
    """Whether a header says how far voxels are apart: one that was never filled in doesn't."""
    is_placed = header["qform_code"] or header["sform_code"] or int(header["xyzt_units"]) & 7
    return bool(is_placed or (header["pixdim"][1:4] != 1).any())


def _offset(header: Any, name: str) -> int:
    """Return where the voxels begin in a file."""
    least = header.template_dtype.itemsize
    begin = int(header.get_data_offset())
    if begin < least:
        raise BrokenInputError(name, f"its voxels begin at byte {begin}, inside its header")
    if begin > least + MAX_EXTENSION:
        raise BrokenInputError(
            name,
            f"its voxels begin at byte {begin}, behind a header extension over the limit of "
            f"{MAX_EXTENSION} bytes; save it without",
        )
    return begin


def _end(header: Any, name: str) -> int:
    """Return where the voxels end in a file."""
    count = int(np.prod(header.get_data_shape(), dtype=np.int64))
    return _offset(header, name) + int(header.get_data_dtype().itemsize) * count


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


def _check_held(declared: int, held: int, is_zipped: bool, name: str) -> None:
    if declared > held * (MOST_INFLATED if is_zipped else 1):
        raise BrokenInputError(
            name, f"declares {declared} bytes, which its {held} bytes cannot hold"
        )
