"""Where grids of voxels lie in space, and whether two of them lie in one place."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import NamedTuple

import nibabel as nib
import numpy as np

from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes.volume import Volume

CLOSE = 0.25
"""Voxels by which two grids of one place may differ, at any corner, along any axis. Programs round
headers differently; a quarter of a voxel changes no voxel's nearest one, while half a voxel, the
usual mistake about where a voxel's origin is, is told."""


class Place(NamedTuple):
    """A grid of voxels.

    Args:
        shape: ``(I, J, K)`` number of voxels along each axis.
        affine: ``(4, 4)`` float64, from indices to millimetres right, anterior, superior.
    """

    shape: tuple[int, ...]
    affine: np.ndarray


def place_of(volume: Volume) -> Place:
    """Return where the voxels of a volume lie."""
    return Place(volume.shape, volume.affine)


def displacement(place: Place, affine: np.ndarray) -> float:
    """Return how far another affine moves the voxels of a grid.

    Args:
        place: the grid.
        affine: ``(4, 4)``, another one for the same indices.

    Returns:
        the largest distance of a corner voxel's centre along any axis of the grid, in voxels.
    """
    corners = np.array([(*at, 1) for at in product(*((0, count - 1) for count in place.shape))]).T
    moved = np.linalg.solve(place.affine, affine @ corners) - corners
    return float(np.abs(moved[:3]).max())


def aligned(labels: Volume, image: Place, path: str, other: str = "its image") -> Volume:
    """Bring labels to the axes of their image, voxel by voxel.

    Args:
        labels: in the order of axes of their own file.
        image: where the voxels are that they mark.
        path: of the labels, for messages.
        other: what the image is called in messages.

    Returns:
        the labels with the shape and the affine of ``image``; their voxels are a view.

    Raises:
        BrokenInputError: they have another shape, or lie elsewhere (see :data:`CLOSE`).
    """
    turned = labels
    if labels.shape != image.shape or displacement(image, labels.affine) > CLOSE:
        turned = labels.oriented("".join(nib.aff2axcodes(image.affine)))
    if turned.shape != image.shape:
        reason = f"has shape {labels.shape}, {other} {image.shape}"
        raise BrokenInputError(path, reason, "shape mismatch")
    distance = displacement(image, turned.affine)
    if distance > CLOSE:
        reason = f"lies elsewhere in space than {other}: a corner is {distance:.2g} voxels away"
        raise BrokenInputError(path, reason, "place mismatch")
    return replace(turned, affine=image.affine)


def spread(labels: Volume, image: Place, path: str) -> Volume:
    """Lay labels that were saved of a part of the grid of their image, or beyond it, on all of it.

    Args:
        labels: in the order of axes of their own file.
        image: where the voxels are that they mark.
        path: of the labels, for messages.

    Returns:
        labels with the shape of ``image``, 0 where there were none; those of a grid with other
        voxels as they are, for :func:`aligned` to refuse.

    Raises:
        BrokenInputError: something is labelled outside the image.
    """
    turned = labels.oriented("".join(nib.aff2axcodes(image.affine)))
    offset = np.rint(np.linalg.solve(image.affine, turned.affine[:, 3])[:3]).astype(int)
    moved = image.affine.copy()
    moved[:3, 3] += moved[:3, :3] @ offset
    if displacement(Place(turned.shape, turned.affine), moved) > CLOSE:
        return labels
    low, high = np.clip([offset, offset + turned.shape], 0, image.shape)
    voxels = np.zeros(image.shape, turned.voxels.dtype, order="F")
    there, here = (tuple(map(slice, low - first, high - first)) for first in (0, offset))
    voxels[there] = turned.voxels[here]
    if np.count_nonzero(voxels) < np.count_nonzero(turned.voxels):
        raise BrokenInputError(path, "labels voxels outside its image", "place mismatch")
    return replace(labels, voxels=voxels, affine=image.affine)


def nearest_orthogonal(affine: np.ndarray) -> np.ndarray:
    """Return the affine without shear that comes closest, with the same spacing and origin.

    It is what the quaternions of a NIfTI qform can say of an affine.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    left, _, right = np.linalg.svd(affine[:3, :3] / spacing)
    straight = affine.copy()
    straight[:3, :3] = left @ right * spacing
    return straight


def is_sheared(place: Place) -> bool:
    """Whether a grid's axes are not at right angles, as those of a CT with a tilted gantry.

    Axes that are at right angles but for rounding, so that no voxel is moved by more than
    :data:`CLOSE`, count as straight.
    """
    return displacement(place, nearest_orthogonal(place.affine)) > CLOSE
