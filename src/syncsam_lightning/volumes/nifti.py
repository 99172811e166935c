"""NIfTI volumes, read and written."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel import orientations

from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes.volume import MAX_VOXELS, Volume

SUFFIXES = (".nii", ".nii.gz")

_NO_NIFTI = (
    nib.filebasedimages.ImageFileError,
    nib.spatialimages.HeaderDataError,
    nib.wrapstruct.WrapStructError,
)
# What nibabel raises for damaged files beside its own.
_UNREADABLE = (OSError, EOFError, ValueError, OverflowError, TypeError, LookupError, zlib.error)

_MOST_INFLATED = 1032
"""Bytes that one byte of deflated data becomes at most (RFC 1951: 258 for two bits)."""


def is_nifti(path: Path) -> bool:
    """Whether a file's name is that of a NIfTI volume."""
    return path.name.lower().endswith(SUFFIXES)


def read_nifti(path: str | os.PathLike[str]) -> Volume:
    """Read a volume, with the header's scaling applied.

    Raises:
        BrokenInputError: the file is missing, damaged, too large, no volume of three axes (a fourth
            of length 1 is dropped), or holds values that are not finite.
    """
    name = os.fspath(path)
    if not Path(name).is_file():
        raise BrokenInputError(name, "file not found", kind="file not found")
    try:
        image: Any = nib.load(name)
        _check_declared(image, Path(name))
        voxels = np.asanyarray(image.dataobj)
    except _NO_NIFTI as error:
        raise BrokenInputError(name, f"not a NIfTI file ({error})") from error
    except _UNREADABLE as error:
        raise BrokenInputError(name, f"cannot be decoded ({error})") from error
    if voxels.ndim == 4 and voxels.shape[3] == 1:
        voxels = voxels[..., 0]
    if voxels.ndim != 3 or voxels.size == 0 or voxels.dtype.kind not in "iuf":
        raise BrokenInputError(name, f"not a volume ({voxels.dtype} of shape {voxels.shape})")
    if not np.isfinite(voxels).all():
        raise BrokenInputError(name, "holds values that are not finite")
    affine = np.asarray(image.affine, np.float64)
    if (
        not np.isfinite(affine).all()
        or abs(np.linalg.det(affine[:3, :3])) < 1e-12
        or np.isnan(orientations.io_orientation(affine)).any()  # an axis that hardly has a length
    ):
        raise BrokenInputError(name, "its affine does not span three axes")
    return Volume(voxels, affine, (Path(name),), header=image.header)


def _check_declared(image: Any, path: Path) -> None:
    """Raise for a header that declares more than is read, or than the file can hold."""
    shape, held = image.shape, path.stat().st_size
    voxels = np.prod(shape, dtype=np.float64)
    if voxels > MAX_VOXELS:
        raise BrokenInputError(str(path), f"declares {shape} voxels, over the limit")
    declared = image.dataobj.offset + voxels * image.get_data_dtype().itemsize
    most = held * _MOST_INFLATED if path.name.lower().endswith(".gz") else held
    if declared > most:
        raise BrokenInputError(
            str(path), f"declares {declared:.0f} bytes, which its {held} bytes cannot hold"
        )


def write_nifti(path: str | os.PathLike[str], mask: np.ndarray, volume: Volume) -> None:
    """Write a mask that lies exactly where its volume lies.

    Affine, spacing and the codes that say which space it is (qform, sform) are the volume's.

    Args:
        path: ``.nii`` or ``.nii.gz``.
        mask: ``(I, J, K)`` bool.
        volume: whose voxels it marks.

    Raises:
        ValueError: the shapes differ.
    """
    if mask.shape != volume.voxels.shape:
        raise ValueError(f"mask has shape {mask.shape}, its volume {volume.voxels.shape}")
    if volume.header is None:
        image = nib.Nifti1Image(mask.astype(np.uint8), volume.affine)
        image.set_qform(volume.affine, code="scanner")
        image.set_sform(volume.affine, code="scanner")
    else:
        # The header itself, so that qform and sform are kept to the bit.
        header = volume.header.copy()
        header.set_data_dtype(np.uint8)
        header["cal_min"] = header["cal_max"] = 0  # how to show the intensities, not the mask
        image = nib.Nifti1Image(mask.astype(np.uint8), volume.affine, header)
    nib.save(image, path)
