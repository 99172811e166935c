"""NIfTI volumes, read and written."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np

from syncsam_lightning.volumes.stored import read_stored
from syncsam_lightning.volumes.volume import Volume

log = logging.getLogger(__name__)

SUFFIXES = (".nii", ".nii.gz")


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

    Affine, spacing and the codes that say which space it is (qform, sform) are the volume's.

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
