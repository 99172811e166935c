"""NRRD and MetaImage volumes, as 3D Slicer and programs built on ITK write them."""

from __future__ import annotations

import importlib
import logging
import os
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from syncsam_lightning.errors import BrokenInputError, MissingPackageError
from syncsam_lightning.volumes.finite import finite
from syncsam_lightning.volumes.itk_header import (
    GZIP,
    RAW,
    ItkHeader,
    Segment,
    read_itk_header,
    several_values,
)
from syncsam_lightning.volumes.place import Place
from syncsam_lightning.volumes.volume import Volume, spans_space

log = logging.getLogger(__name__)

SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")
_PIECE = 1 << 20
_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # ITK counts left and posterior as positive


def is_itk(path: Path) -> bool:
    """Whether a file's name is that of a NRRD or MetaImage volume."""
    return path.name.lower().endswith(SUFFIXES)


def read_itk(path: str | os.PathLike[str]) -> Volume:
    """Read a volume as an image.

    A header that does not say how its axes lie places the voxels nowhere. They are then taken as
    ITK takes them, to the left, the back and the top, and a warning says so. Voxels of NaN
    become background, with a warning.

    Raises:
        BrokenInputError: see :func:`read_itk_stored`.
        MissingPackageError: SimpleITK is not installed.
    """
    volume = read_itk_stored(path, nan_is_background=True)
    if not read_itk_header(Path(path)).is_placed:
        log.warning(
            "%s does not say how the patient lies in it (its header has no directions): its axes "
            "are taken to lead to the left, the back and the top, so planes and sides may be "
            "wrong; masks fit its voxels all the same",
            path,
        )
    return volume


def read_itk_stored(
    path: str | os.PathLike[str], *, nan_is_background: bool = False, layer: int | None = None
) -> Volume:
    """Read a NRRD or MetaImage file of one piece.

    An image of two axes is a volume of one slice.

    Args:
        path: of the file.
        nan_is_background: see :func:`~syncsam_lightning.volumes.stored.read_stored`.
        layer: of a segmentation of 3D Slicer with several; None: there is one.

    Raises:
        BrokenInputError: the file is missing, damaged, no volume, too large, in several pieces, or
            holds values that are not finite.
        MissingPackageError: SimpleITK is not installed.
    """
    place = Path(path)
    header = read_itk_header(place)
    reader, grid = _opened(place, header)
    _check_checksum(place, header)
    try:
        voxels = _itk().GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        raise _unreadable(place, error) from error
    if reader.GetNumberOfComponents() > 1:
        if layer is None or layer >= reader.GetNumberOfComponents():
            raise several_values(place, reader.GetNumberOfComponents())
        voxels = voxels[..., layer]
    voxels = voxels.T.reshape(grid.shape)
    return Volume(
        finite(voxels, str(place), nan_is_background=nan_is_background),
        grid.affine,
        (place,),
        has_spacing=header.has_spacing,
    )


def read_itk_place(path: Path) -> Place:
    """Read shape and affine.

    Raises:
        BrokenInputError: the file is damaged at its begin, or no volume.
        MissingPackageError: SimpleITK is not installed.
    """
    return _opened(path, read_itk_header(path))[1]


def read_segments(path: Path) -> list[Segment]:
    """Return what a segmentation of 3D Slicer (``.seg.nrrd``) calls its objects; none of others.

    Raises:
        BrokenInputError: the header is damaged.
    """
    return list(read_itk_header(path).segments)


def _itk() -> ModuleType:
    try:
        return importlib.import_module("SimpleITK")
    except ImportError as error:
        raise MissingPackageError(
            f"NRRD and MetaImage need the package SimpleITK, which cannot be imported ({error}): "
            "pip install 'syncsam-lightning[itk]'"
        ) from error


def _opened(path: Path, header: ItkHeader) -> tuple[Any, Place]:
    """Return ITK's reader of a file, and where its voxels lie."""
    itk = _itk()
    itk.ProcessObject.SetGlobalWarningDisplay(False)  # what is wrong, our errors say
    reader = itk.ImageFileReader()
    reader.SetImageIO("NrrdImageIO" if header.is_nrrd else "MetaImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    count = reader.GetNumberOfComponents()
    if count > 1 and not header.segments:
        raise several_values(path, count)
    sizes = tuple(reader.GetSize())
    if any(size != 1 for size in sizes[3:]):
        raise BrokenInputError(
            str(path),
            f"not a volume: its shape is {sizes}; save the part of three axes that you mean as a "
            "file of its own",
        )
    if np.prod(sizes, dtype=np.float64) * count != np.prod(header.sizes, dtype=np.float64):
        raise BrokenInputError(str(path), f"its header means {sizes} and {header.sizes} voxels")
    affine = _TO_RAS @ _affine(reader)
    if not spans_space(affine):
        raise BrokenInputError(str(path), "its directions do not span three axes")
    return reader, Place((*sizes, 1)[:3], affine)


def _affine(reader: Any) -> np.ndarray:
    """Return ``(4, 4)`` from indices to millimetres left, posterior, superior."""
    axes = reader.GetDimension()
    kept = min(axes, 3)
    affine = np.eye(4)
    directions = np.reshape(reader.GetDirection(), (axes, axes))
    affine[:kept, :kept] = (directions * reader.GetSpacing())[:kept, :kept]
    affine[:kept, 3] = reader.GetOrigin()[:kept]
    return affine


def _check_checksum(path: Path, header: ItkHeader) -> None:
    """Refuse compressed voxels that are damaged or too many: ITK looks at no checksum."""
    if header.encoding == RAW:
        return
    wbits = zlib.MAX_WBITS | (16 if header.encoding == GZIP else 0)
    inflater, size = zlib.decompressobj(wbits), 0
    try:
        with path.open("rb") as file:
            file.seek(header.begin)
            while not (inflater.eof and size == header.size):
                if inflater.eof:  # gzip may have several members
                    rest, inflater = inflater.unused_data, zlib.decompressobj(wbits)
                else:
                    rest = inflater.unconsumed_tail
                data = rest or file.read(_PIECE)
                if not data:
                    raise EOFError(f"it ends after {size} of {header.size} bytes")
                size += len(inflater.decompress(data, _PIECE))
                if size > header.size:
                    raise EOFError("it holds more than its header says")
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> BrokenInputError:
    # ITK tells its own source file and line first.
    reason = " ".join(str(error).split()).rpartition("ERROR: ")[2]
    return BrokenInputError(str(path), f"cannot be read as NRRD or MetaImage ({reason[:200]})")
