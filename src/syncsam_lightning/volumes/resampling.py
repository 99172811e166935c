"""Sheared volumes on a grid at right angles, which every program can read."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
from scipy import ndimage

from syncsam_lightning.volumes.place import Place, place_of
from syncsam_lightning.volumes.volume import Volume


def orthogonal_grid(place: Place) -> Place:
    """Return the grid at right angles that covers a sheared one.

    The two axes within a slice keep direction and spacing; the third goes along their normal, by
    the distance of the slices from each other. So a voxel has the same volume, and slices lie where
    they lay. Within a slice are the two axes at a right angle; where that leaves a choice, slices
    are taken to lie farther apart than pixels.
    """
    columns = place.affine[:3, :3]
    spacing = np.linalg.norm(columns, axis=0)
    cosines = np.abs((columns / spacing).T @ (columns / spacing)).round(3)
    order = min(
        ([0, 1, 2], [0, 2, 1], [1, 2, 0]),
        key=lambda axes: (cosines[axes[0], axes[1]], -spacing[axes[2]].round(3)),
    )
    axes, lengths = np.linalg.qr(columns[:, order])
    signs = np.sign(np.diag(lengths))
    straight = np.empty((3, 3))
    straight[:, order] = axes * signs
    spacing[order] = np.abs(np.diag(lengths))
    corners = np.array([*product(*((0, count - 1) for count in place.shape))])
    within = corners @ columns.T @ straight  # millimetres along the new axes
    lowest, highest = within.min(axis=0), within.max(axis=0)
    # Slices end where they ended; what is beside them is covered whole.
    counts = np.ceil((highest - lowest) / spacing - 1e-3).astype(int) + 1
    affine = np.eye(4)
    affine[:3, :3] = straight * spacing
    affine[:3, 3] = place.affine[:3, 3] + straight @ lowest
    return Place(tuple(counts.tolist()), affine)


def resampled(volume: Volume) -> Volume:
    """Bring a volume onto the orthogonal grid that covers it.

    Args:
        volume: of booleans (a mask), of which each voxel of the grid takes the nearest, or of
            intensities, between which it interpolates linearly. What lies outside becomes False or
            0, in stored numbers. Where the nearest voxel is no part of the picture (-inf), neither
            is that of the grid; the others are not mixed with such ones.

    Returns:
        the volume on the grid of :func:`orthogonal_grid`, of the same type.
    """
    grid = orthogonal_grid(place_of(volume))
    way = np.linalg.solve(volume.affine, grid.affine)

    def taken(voxels: np.ndarray, order: int) -> np.ndarray:
        found: np.ndarray = ndimage.affine_transform(
            voxels,
            way[:3, :3],
            way[:3, 3],
            grid.shape,
            order=order,
            mode="grid-constant",
            prefilter=False,
        )
        return found

    is_mask = volume.voxels.dtype == bool
    is_padding = np.isneginf(volume.voxels)
    if is_mask:
        voxels = taken(volume.voxels.astype(np.uint8), 0)
    elif not is_padding.any():
        voxels = taken(volume.voxels.astype(np.float64), 1)
    else:
        sums = taken(np.where(is_padding, 0.0, volume.voxels), 1)
        voxels = sums / np.maximum(1 - taken(is_padding.astype(np.float64), 1), 1e-6)
        voxels[taken(is_padding.astype(np.uint8), 0) > 0] = -np.inf
    if volume.voxels.dtype.kind in "iu":
        voxels = np.rint(voxels)
    header = volume.header
    if header is not None:
        header = header.copy()
        code = int(header["sform_code"]) or int(header["qform_code"])
        header.set_data_shape(grid.shape)
        header.set_qform(grid.affine, code)
        header.set_sform(grid.affine, code)
        header.set_xyzt_units("mm", header.get_xyzt_units()[1])
    return replace(
        volume, voxels=voxels.astype(volume.voxels.dtype), affine=grid.affine, header=header
    )
