"""A labelled volume in every format, and what MaskFolder makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from syncsam_datamodules.mask_folder import MaskFolder

from syncsam_lightning.data.readers import resolve_image, resolve_mask
from syncsam_lightning.records import RawSample, Skipped

AFFINE = np.diag([1.0, 1.0, 3.0, 1.0])
VOXELS = np.arange(60, dtype=np.int16).reshape(4, 5, 3)
LABELS = np.zeros((4, 5, 3), dtype=np.uint8)
LABELS[3, 4, 0] = 1
LABELS[0, :, 2] = 2


def records(root: Path, **options: Any) -> tuple[list[RawSample], list[Skipped]]:
    found = list(MaskFolder(**options).records(root))
    samples = [item for item in found if isinstance(item, RawSample)]
    return samples, [item for item in found if isinstance(item, Skipped)]


def drawn(samples: list[RawSample]) -> list[tuple[str, np.ndarray, dict[str, np.ndarray]]]:
    return [
        (
            sample.slice,
            resolve_image(sample.image, sample.path)[..., 0],
            {mask.label: resolve_mask(mask.mask, mask.path) for mask in sample.masks},
        )
        for sample in samples
    ]


def assert_alike(one: list[RawSample], other: list[RawSample]) -> None:
    assert len(one) == len(other) > 0
    for (place, image, masks), (other_place, other_image, other_masks) in zip(
        drawn(one), drawn(other), strict=True
    ):
        assert place == other_place
        np.testing.assert_array_equal(image, other_image)
        assert masks.keys() == other_masks.keys()
        for label, mask in masks.items():
            np.testing.assert_array_equal(mask, other_masks[label])


def nifti(path: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def turned(voxels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the same voxels with the axes posterior, superior, left, and their affine."""
    affine = np.zeros((4, 4))
    affine[0, 2], affine[1, 0], affine[2, 1], affine[3, 3] = -1, -1, 3, 1
    affine[0, 3], affine[1, 3] = 3, 4
    return np.ascontiguousarray(voxels.transpose(1, 2, 0)[::-1, :, ::-1]), affine
