"""The planes in which a volume is looked at, slice by slice."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np

from syncsam_lightning.volumes.volume import Volume

Plane = Literal["axial", "coronal", "sagittal"]

PLANES: Mapping[Plane, str] = MappingProxyType(
    {"sagittal": "RIP", "coronal": "AIL", "axial": "SPL"}
)
"""Where slice number, rows and columns of a plane lead (NIfTI's letters).

Slices are seen as radiologists see them: anterior (axial) or superior is up, the patient's right is
left, and in sagittal slices anterior is left. They are counted from the patient's left, from
posterior, from inferior.
"""


def stack_of(volume: Volume, plane: Plane) -> np.ndarray:
    """Return a volume's voxels as ``(slices, rows, columns[, 3])`` of a plane; a view."""
    return volume.oriented(PLANES[plane]).voxels


def unstacked(stack: np.ndarray, volume: Volume, plane: Plane) -> np.ndarray:
    """Bring ``(slices, rows, columns)`` of a plane back to the ``(I, J, K)`` of the volume."""
    return volume.restored(stack, PLANES[plane])


def coarsest_plane(volume: Volume) -> Plane:
    """Return the plane whose slices lie farthest apart: the one it was most likely taken in.

    A single slice is looked at from the front, however thin it is: an axis with one voxel comes
    before all others. Of equal ones the last of sagittal, coronal, axial.
    """
    turned = volume.oriented("RAS")
    single = [count == 1 for count in turned.shape]
    spacing = [round(distance, 3) for distance in turned.spacing]
    planes: tuple[Plane, ...] = ("sagittal", "coronal", "axial")
    return planes[max(range(3), key=lambda axis: (single[axis], spacing[axis], axis))]
