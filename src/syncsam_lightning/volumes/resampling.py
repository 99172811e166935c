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
            0, in stored numbers. In a volume with voxels that are no part of the picture (-inf, see
            :class:`Volume`) what lies outside is none either, and neither is what has such a voxel
            nearest; others are interpolated between what is part of it.

    Returns:
        the volume on the grid of :func:`orthogonal_grid`, of the same type.
    """
    grid = orthogonal_grid(place_of(volume))
    way = np.linalg.solve(volume.affine, grid.affine)

    def moved(voxels: np.ndarray, order: int) -> np.ndarray:
        result: np.ndarray = ndimage.affine_transform(
            voxels,
            way[:3, :3],
            way[:3, 3],
            grid.shape,
            order=order,
            mode="grid-constant",
            prefilter=False,
        )
        return result

    is_shown = ~np.isneginf(volume.voxels)
    if volume.voxels.dtype == bool:
        voxels = moved(volume.voxels.view(np.uint8), 0)
    elif is_shown.all():
        voxels = moved(volume.voxels.astype(np.float64), 1)
    else:  # -inf would spread as NaN: 0 times infinity
        share = moved(is_shown.astype(np.float64), 1)
        known = moved(np.where(is_shown, volume.voxels, 0).astype(np.float64), 1)
        voxels = np.full(grid.shape, -np.inf)
        np.divide(known, share, out=voxels, where=moved(is_shown.view(np.uint8), 0) > 0)
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
