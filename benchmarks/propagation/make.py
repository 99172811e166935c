"""`python -m benchmarks.propagation.make`: labelled volumes whose truth is known in full.

The folders have the layout of ``MaskFolder``: volumes in ``images``, label maps in ``masks``.
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import gaussian_filter
from syncsam_datamodules.mni152 import BRAIN_ABOVE, TISSUE_FROM

from syncsam_lightning.volumes.stored import read_stored

SHAPE = (96, 96, 40)
SPACING = (1.0, 1.0, 3.0)
CONTRASTS = (-80, -55, -30, 30, 55, 80, 105)
NOISE = 6.0


def phantom(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(96, 96, 40)`` uint8 grey values with noise, and the labels 1..7 of ellipsoids.

    Ellipsoids are tilted, may touch, and cover those before them; all differ in brightness.
    """
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1) * SPACING
    extent = np.multiply(SHAPE, SPACING)
    ground = gaussian_filter(rng.normal(size=SHAPE), (12, 12, 4))
    values = 90 + 20 * ground / np.abs(ground).max()
    labels = np.zeros(SHAPE, np.uint8)
    for number, contrast in enumerate(rng.permutation(CONTRASTS), start=1):
        radii = rng.uniform((8, 8, 12), (20, 20, 36))
        centre = rng.uniform(0.2, 0.8, 3) * extent
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)) + 2 * np.eye(3))
        inside = (((grid - centre) @ turn / radii) ** 2).sum(-1) <= 1
        values[inside] = 90 + contrast
        labels[inside] = number
    blurred = gaussian_filter(values, (0.7, 0.7, 0.3)) + rng.normal(scale=NOISE, size=SHAPE)
    return blurred.clip(0, 255).astype(np.uint8), labels


def brain(thickness: int) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Return the MNI152 template in slices of some millimetres, its labels and its affine.

    Labels of ``brain`` and of ``white``, the white matter: 1 in the right hemisphere, 2 in the
    left. Slices are picked, not averaged, so that they look as those that the demo is trained on.
    """
    spec = find_spec("nilearn")
    folders = spec.submodule_search_locations if spec is not None else None
    if not folders:
        raise SystemExit("the brain is that of nilearn: pip install nilearn")
    template, white = (
        read_stored(
            Path(folders[0]) / f"datasets/data/mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz"
        ).oriented("RAS")
        for name in ("t1", "wm")
    )
    affine = template.affine.copy()
    side = np.where(np.arange(template.voxels.shape[0]) + affine[0, 3] < 0, 2, 1)[:, None, None]
    affine[:3, 2] *= thickness
    voxels = template.values()[..., ::thickness]
    masks = {
        "brain": voxels > BRAIN_ABOVE,
        "white": white.values()[..., ::thickness] >= TISSUE_FROM,
    }
    labels = {name: (mask * side).astype(np.uint8) for name, mask in masks.items()}
    return voxels.astype(np.uint8), labels, affine


def _save(
    folder: Path, name: str, voxels: np.ndarray, labels: np.ndarray, affine: np.ndarray
) -> None:
    for kind, array in (("images", voxels), ("masks", labels)):
        path = folder / kind / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(array, affine), path)


def main(arguments: list[str]) -> int:
    """Write phantoms or the brain in slices of several thicknesses."""
    parser = argparse.ArgumentParser(prog="benchmarks.propagation.make", description=__doc__)
    parser.add_argument("what", choices=("phantoms", "brain"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=6, help="phantoms")
    parser.add_argument("--seed", type=int, default=0, help="of the first phantom")
    parser.add_argument("--thickness", type=int, nargs="+", default=[3, 6], help="mm, of the brain")
    options = parser.parse_args(arguments)
    if options.what == "phantoms":
        for seed in range(options.seed, options.seed + options.count):
            _save(options.folder, f"phantom{seed:03}", *phantom(seed), np.diag([*SPACING, 1.0]))
    else:
        for thickness in options.thickness:
            voxels, labels, affine = brain(thickness)
            for name, of_tissue in labels.items():
                _save(options.folder, f"{name}_{thickness}mm", voxels, of_tissue, affine)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
