"""NIfTI volumes, read and written."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from syncsam_lightning.volumes.place import is_sheared, place_of
from syncsam_lightning.volumes.stored import read_stored
from syncsam_lightning.volumes.volume import Volume

log = logging.getLogger(__name__)

SUFFIXES = (".nii", ".nii.gz")
MOST_IN_NIFTI1 = 32767
"""Voxels along an axis, which the header of NIfTI-1 has 16 bits for."""

_PLACING = (
    *("pixdim", "xyzt_units", "qform_code", "sform_code"),
    *("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("srow_x", "srow_y", "srow_z"),
)
"""What of a header says where its voxels lie; the rest is about the intensities."""


def is_nifti(path: Path) -> bool:
    """Whether a file's name is that of a NIfTI volume."""
    return path.name.lower().endswith(SUFFIXES)


def read_nifti(path: str | os.PathLike[str]) -> Volume:
    """Read a volume, with the header's scaling applied.

    A header whose qform_code and sform_code are both 0 places the voxels nowhere ("method 1" of the
    NIfTI-1 standard). Its axes are then taken as nibabel takes them, to the left, the front
    and the top, and a warning says so. Voxels of NaN become background, with a warning.

    Raises:
        BrokenInputError: see :func:`~syncsam_lightning.volumes.stored.read_stored`.
    """
    stored = read_stored(path, nan_is_background=True)
    if not stored.header["qform_code"] and not stored.header["sform_code"]:
        log.warning(
            "%s does not say how the patient lies in it (qform_code and sform_code are 0): its "
            "axes are taken to lead to the left, the front and the top, so planes and sides may be "
            "wrong; masks fit its voxels all the same",
            path,
        )
    return replace(stored, voxels=stored.values(), slope=1.0, intercept=0.0)


def write_nifti(path: str | os.PathLike[str], mask: np.ndarray, volume: Volume) -> None:
    """Write a mask that lies exactly where its volume lies.

    Affine, spacing and the codes that say which space it is (qform, sform) are those of the
    volume's header. Where it has none, both say the same, unless its axes are sheared (a tilted
    gantry): a qform has no room for a shear and would place the mask elsewhere, so it is left out
    (code 0). A warning tells of a shear, since programs built on ITK read no such file;
    :func:`~syncsam_lightning.volumes.resampling.resampled` makes one that they do. The file is
    NIfTI-1, which all programs read, unless an axis is too long for it.

    Args:
        path: ``.nii`` or ``.nii.gz``.
        mask: ``(I, J, K)`` bool.
        volume: whose voxels it marks.

    Raises:
        ValueError: the shapes differ, or the name is not that of a NIfTI file.
    """
    if not is_nifti(Path(path)):
        raise ValueError(
            f"{path} can't hold a volume: its name must end in {' or '.join(SUFFIXES)}"
        )
    if mask.shape != volume.shape:
        raise ValueError(f"mask has shape {mask.shape}, its volume {volume.shape}")
    sheared = is_sheared(place_of(volume))
    if sheared:
        log.warning(
            "%s: its axes are not at right angles (a tilted gantry): programs built on ITK refuse "
            "it or place it elsewhere; --resample true writes a mask that all can read",
            path,
        )
    kind: Any = nib.Nifti1Image if max(mask.shape) <= MOST_IN_NIFTI1 else nib.Nifti2Image
    header = kind.header_class()
    header.set_data_shape(mask.shape)
    header.set_data_dtype(np.uint8)
    if volume.header is None:
        header.set_zooms(volume.spacing)
        header.set_xyzt_units("mm")
        header.set_sform(volume.affine, code="scanner")
        header.set_qform(volume.affine, code="unknown" if sheared else "scanner")
    else:
        for key in _PLACING:
            header[key] = volume.header[key]
    # The affine of the header itself, in its unit, so that qform and sform are kept to the bit.
    nib.save(kind(mask.astype(np.uint8), header.get_best_affine(), header), path)
