"""MNI152: the embedded data set, which needs no download.

Axial slices of the ICBM 2009a template that the installed ``nilearn`` carries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import nibabel as nib
import numpy as np

from syncsam_lightning.data.datamodule import PromptableDataModule
from syncsam_lightning.errors import DatasetNotFoundError
from syncsam_lightning.records import DatasetCard, NamedMask, RawSample, Skipped, Split

BRAIN_ABOVE = 51
"""Brain is where the T1 template is brighter than this: 0.2 of its maximum, nilearn's own rule."""

TISSUE_FROM = 128
"""A tissue is where its probability map, 0..255, reaches this: one half."""

SMALLEST_BRAIN = 3000
"""Slices with fewer brain pixels (of 1 mm²) are left out."""

SMALLEST_TISSUE = 100
"""A tissue with fewer pixels on a slice is absent from it."""


@dataclass(frozen=True, slots=True)
class Band:
    """Neighbouring axial slices that are on one side of the split.

    Args:
        first, last: heights in mm of MNI space, both included; slices are 1 mm apart.
        split: the side.
    """

    first: int
    last: int
    split: Split

    @property
    def name(self) -> str:
        """How reports name it, as a case."""
        return f"z{self.first:+d}..{self.last:+d}"


BANDS: tuple[Band, ...] = (
    Band(-60, -29, "train"),
    Band(-23, -14, "test"),
    Band(-8, 17, "train"),
    Band(23, 32, "val"),
    Band(38, 51, "train"),
    Band(57, 66, "test"),
)
"""Five slices between neighbouring bands belong to none, so slices of two bands are at least 6 mm
apart. What is above 66 mm is left out too."""

_canonical: Callable[[Any], Any] = nib.as_closest_canonical
_FILES: Mapping[str, str] = {
    "t1": "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz",
    "grey matter": "mni_icbm152_gm_tal_nlin_sym_09a_converted.nii.gz",
    "white matter": "mni_icbm152_wm_tal_nlin_sym_09a_converted.nii.gz",
}


class MNI152(PromptableDataModule):
    """Slices of the MNI152 brain with masks of brain, grey matter and white matter.

    A single, smooth brain: good for a demonstration and for tests, not for judging a model. The
    split is by height in bands with gaps (:data:`BANDS`).

    Images are seen as radiologists do: anterior is up, the patient's right is left.
    """

    card: ClassVar[DatasetCard] = DatasetCard(
        name="MNI152",
        description=(
            "Axial slices of the T1 template of 152 brains (ICBM 2009a, nonlinear, symmetric, "
            "1 mm, skull removed) with brain, grey matter and white matter."
        ),
        homepage="https://www.bic.mni.mcgill.ca/ServicesAtlases/ICBM152NLin2009",
        license="permissive: use, copying, modification and distribution for any purpose without "
        "fee, with the notice Copyright (C) 1993-2009 Louis Collins, McConnell Brain Imaging "
        "Centre, Montreal Neurological Institute, McGill University",
        citation="Fonov et al.: Unbiased average age-appropriate atlases for pediatric studies, "
        "NeuroImage 54(1), 2011",
        modalities=("mr",),
        layout=(
            "nothing to download: the volumes are read from the installed nilearn package",
            *_FILES.values(),
        ),
    )

    needs_root: ClassVar[bool] = False

    def records(self, root: Path) -> Iterator[RawSample | Skipped]:
        """Yield the slices of :data:`BANDS` from bottom to top.

        Args:
            root: not used; the volumes lie in the installed ``nilearn``.

        Raises:
            DatasetNotFoundError: ``nilearn`` is not installed or has no such volumes.
        """
        folder = _nilearn_folder()
        volumes = {name: _read(folder / file) for name, file in _FILES.items()}
        template, affine = volumes.pop("t1")
        offset = round(float(affine[2, 3]))
        masks = {"brain": template > BRAIN_ABOVE}
        masks |= {name: voxels >= TISSUE_FROM for name, (voxels, _) in volumes.items()}
        smallest = dict.fromkeys(masks, SMALLEST_TISSUE) | {"brain": 1}
        for band in BANDS:
            for height in range(band.first, band.last + 1):
                planes = {name: _plane(mask, height - offset) for name, mask in masks.items()}
                if planes["brain"].sum() < SMALLEST_BRAIN:
                    continue
                yield RawSample(
                    id=f"mni152/z{height:+04d}",
                    image=_plane(template, height - offset),
                    masks=tuple(
                        NamedMask(name, plane, path=f"{_FILES.get(name, _FILES['t1'])}[{height}]")
                        for name, plane in planes.items()
                        if plane.sum() >= smallest[name]
                    ),
                    modality="mr",
                    source="MNI152",
                    case=band.name,
                    slice=f"{height:+d}",
                    split=band.split,
                    path=f"{_FILES['t1']}[{height}]",
                )


def _nilearn_folder() -> Path:
    # The package is only located: importing it would take longer than reading the volumes.
    spec = find_spec("nilearn")
    if spec is None or not spec.submodule_search_locations:
        raise DatasetNotFoundError(
            "MNI152 reads its volumes from the package nilearn, which is not installed: "
            "pip install nilearn"
        )
    return Path(spec.submodule_search_locations[0]) / "datasets" / "data"


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    if not path.is_file():
        raise DatasetNotFoundError(
            f"{path} is not there: the installed nilearn carries other volumes; "
            "install a release from 0.11 on"
        )
    image = _canonical(nib.load(path))
    return np.asarray(image.dataobj, dtype=np.uint8), image.affine


def _plane(voxels: np.ndarray, index: int) -> np.ndarray:
    """Cut an axial slice: rows from anterior to posterior, columns from right to left."""
    return np.ascontiguousarray(voxels[::-1, ::-1, index].T)
