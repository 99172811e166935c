"""A volume: voxels and where they lie in the patient."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel import orientations

MAX_VOXELS = 1 << 31
"""Largest volume that is read; a header that declares more is refused before any allocation."""


def spans_space(affine: np.ndarray) -> bool:
    """Whether an affine leads somewhere along each of its axes, and back.

    Args:
        affine: ``(4, 4)`` float64.

    Returns:
        False if it holds what is not finite, or an axis that has no length or hardly any beside
        what it shares with the others.
    """
    if not np.isfinite(affine).all():
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        return not np.isnan(orientations.io_orientation(affine)).any()


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """Voxels with their place in space.

    Args:
        voxels: ``(I, J, K)`` integers or floats, in the order of the file (of a DICOM series:
            columns, rows, slices), or ``(I, J, K, 3)`` uint8 RGB. They may be numbers as stored,
            which take a quarter of the memory: see ``slope``. -inf where a slice holds no picture
            (DICOM's padding); such voxels are background, and no window is made from them.
        affine: ``(4, 4)`` float64, from voxel indices to millimetres right, anterior, superior
            (RAS, as in NIfTI).
        files: the NIfTI file, or of a DICOM series the file that holds the slice at each K.
        modality: as DICOM names it (``CT``, ``MR``), empty if the file does not say.
        header: of the NIfTI file, None otherwise.
        frames: of a DICOM series: the number of that slice in its file, from 0.
        slope, intercept: a value is ``voxels * slope + intercept``.
        has_spacing: False where the file says nothing of distances, so that those of the affine are
            made up.
    """

    voxels: np.ndarray
    affine: np.ndarray
    files: tuple[Path, ...] = ()
    modality: str = ""
    header: Any = None
    frames: tuple[int, ...] = ()
    slope: float = 1.0
    intercept: float = 0.0
    has_spacing: bool = True

    def values(self, voxels: np.ndarray | None = None) -> np.ndarray:
        """Return what all voxels or a part of them measure.

        Args:
            voxels: the part; None: all.

        Returns:
            of the same dtype if there is nothing to scale, else float64.
        """
        part = self.voxels if voxels is None else voxels
        if self.slope == 1 and self.intercept == 0:
            return part
        return part.astype(np.float64) * self.slope + self.intercept

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along I, J and K."""
        i, j, k = self.voxels.shape[:3]
        return i, j, k

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance in millimetres between voxels along I, J and K."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return i, j, k

    @property
    def voxel_volume(self) -> float:
        """Cubic millimetres that a voxel takes; in a sheared volume less than its sides say."""
        return abs(float(np.linalg.det(self.affine[:3, :3])))

    @property
    def orientation(self) -> str:
        """Where I, J and K lead, such as ``RAS``; oblique axes by the direction closest to them."""
        return "".join(nib.aff2axcodes(self.affine))

    def oriented(self, codes: str) -> Volume:
        """Return the volume with its axes flipped and permuted; the voxels are a view.

        Args:
            codes: where the axes shall lead, such as ``RAS``.
        """
        turn = self._turn_to(codes)
        return replace(
            self,
            voxels=orientations.apply_orientation(self.voxels, turn),
            affine=self.affine @ orientations.inv_ornt_aff(turn, self.shape),
            header=None,
        )

    def restored(self, array: np.ndarray, codes: str) -> np.ndarray:
        """Bring an array that lies like ``oriented(codes)`` back to the order of the file.

        Args:
            array: with three axes.
            codes: see :meth:`oriented`.

        Returns:
            ``(I, J, K)``, a view.
        """
        back = orientations.ornt_transform(
            orientations.axcodes2ornt(codes), orientations.io_orientation(self.affine)
        )
        restored: np.ndarray = orientations.apply_orientation(array, back)
        return restored

    def _turn_to(self, codes: str) -> np.ndarray:
        turn: np.ndarray = orientations.ornt_transform(
            orientations.io_orientation(self.affine), orientations.axcodes2ornt(codes)
        )
        return turn
