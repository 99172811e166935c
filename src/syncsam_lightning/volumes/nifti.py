"""NIfTI volumes, read and written."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes.volume import MAX_VOXELS, Volume

SUFFIXES = (".nii", ".nii.gz")


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
        if np.prod(image.shape, dtype=np.float64) > MAX_VOXELS:
            raise BrokenInputError(name, f"declares {image.shape} voxels, over the limit")
        voxels = np.asanyarray(image.dataobj)
    except (nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError) as error:
        raise BrokenInputError(name, f"not a NIfTI file ({error})") from error
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise BrokenInputError(name, f"cannot be decoded ({error})") from error
    if voxels.ndim == 4 and voxels.shape[3] == 1:
        voxels = voxels[..., 0]
    if voxels.ndim != 3 or voxels.size == 0 or voxels.dtype.kind not in "iuf":
        raise BrokenInputError(name, f"not a volume ({voxels.dtype} of shape {voxels.shape})")
    if not np.isfinite(voxels).all():
        raise BrokenInputError(name, "holds values that are not finite")
    affine = np.asarray(image.affine, np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise BrokenInputError(name, "its affine does not span three axes")
    return Volume(voxels, affine, (Path(name),), header=image.header)


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
