"""MNI152: the embedded data set, which needs no download.

Axial slices of the ICBM 2009a template that the installed ``nilearn`` carries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from syncsam_lightning.data.datamodule import PromptableDataModule
from syncsam_lightning.errors import DatasetNotFoundError
from syncsam_lightning.records import DatasetCard, NamedMask, RawSample, Skipped, Split
from syncsam_lightning.volumes import Volume, stack_of
from syncsam_lightning.volumes.stored import read_stored

BRAIN_ABOVE = 51
"""Brain is where the T1 template is brighter than this: 0.2 of its maximum, nilearn's own rule."""

TISSUE_FROM = 128
"""A tissue is where its probability map, 0..255, reaches this: one half."""

SMALLEST_BRAIN = 3000
"""Slices with fewer brain pixels (of 1 mm²) are left out."""

SMALLEST_OBJECT = 100
"""What has fewer pixels on a slice is absent from it."""


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
    Band(-60, -41, "train"),
    Band(-35, -28, "test"),
    Band(-22, -3, "train"),
    Band(3, 8, "val"),
    Band(14, 33, "train"),
    Band(39, 46, "test"),
    Band(52, 66, "train"),
)
"""Five slices between neighbouring bands belong to none, so slices of two bands are at least 6 mm
apart. What is above 66 mm is left out too."""

MARGIN = 4
"""Pixels (mm) that are kept around the head; the template's empty border is cut off."""

_SOURCES: Mapping[str, str] = {
    "brain": "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz",
    "grey matter": "mni_icbm152_gm_tal_nlin_sym_09a_converted.nii.gz",
    "white matter": "mni_icbm152_wm_tal_nlin_sym_09a_converted.nii.gz",
}
"""The file of each class; the T1 template itself gives images and brain."""


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
            *_SOURCES.values(),
        ),
    )

    needs_root: ClassVar[bool] = False

    def __init__(
        self,
        root: str | None = None,
        table: str | None = None,
        *,
        hemispheres: bool = True,
        **kwargs: Any,
    ) -> None:
        """Create the datamodule.

        Args:
            root: not used.
            table: the prepared table.
            hemispheres: give each hemisphere masks of its own (instance 0 is the patient's right).
                On whole slices, brain and grey matter have nearly the same box; with hemispheres
                every prompt tells at least which side is meant.
            kwargs: see :class:`~syncsam_lightning.data.datamodule.PromptableDataModule`.
        """
        super().__init__(root, table, **kwargs)
        self.hemispheres = hemispheres

    def table_settings(self) -> dict[str, Any]:
        """Return what shapes the table."""
        return super().table_settings() | {"hemispheres": self.hemispheres}

    def records(self, root: Path) -> Iterator[RawSample | Skipped]:
        """Yield the slices of :data:`BANDS` from bottom to top.

        Args:
            root: not used; the volumes lie in the installed ``nilearn``.

        Raises:
            DatasetNotFoundError: ``nilearn`` is not installed or has no such volumes.
        """
        head = _read_head(_nilearn_folder())
        width = head.template.shape[2]
        # Columns run from the patient's right to left; x = 0 mm counts as left.
        midline = width - 1 + head.left
        sides = (slice(0, midline), slice(midline, width)) if self.hemispheres else (slice(width),)
        for band in BANDS:
            for height in range(band.first, band.last + 1):
                index = height - head.bottom
                planes = {name: mask[index] for name, mask in head.masks.items()}
                if planes["brain"].sum() < SMALLEST_BRAIN:
                    continue
                yield RawSample(
                    id=f"mni152/z{height:+04d}",
                    image=head.template[index],
                    masks=[
                        NamedMask(name, part, path=f"{_SOURCES[name]}[{height}]", instance=number)
                        for name, plane in planes.items()
                        for number, side in enumerate(sides)
                        if (part := _only(plane, side)).sum() >= SMALLEST_OBJECT
                    ],
                    modality="mr",
                    source="MNI152",
                    case=band.name,
                    slice=f"{height:+d}",
                    split=band.split,
                    path=f"{_SOURCES['brain']}[{height}]",
                )


@dataclass(frozen=True, slots=True)
class _Head:
    """Axial slices without empty border; ``left`` and ``bottom`` are mm of the first voxel."""

    template: np.ndarray
    masks: Mapping[str, np.ndarray]
    left: int
    bottom: int


def _read_head(folder: Path) -> _Head:
    volumes = {name: _read(folder / file) for name, file in _SOURCES.items()}
    template, affine = volumes.pop("brain")
    there = _surroundings(template)
    masks = {"brain": template[there] > BRAIN_ABOVE}
    masks |= {name: voxels[there] >= TISSUE_FROM for name, (voxels, _) in volumes.items()}
    left, bottom = (round(float(affine[axis, 3])) + there[axis].start for axis in (0, 2))
    stacks = {name: _slices(mask) for name, mask in masks.items()}
    return _Head(_slices(template[there]), stacks, left, bottom)


def _surroundings(template: np.ndarray) -> tuple[slice, slice, slice]:
    """Return the part of the axial planes that holds the head, of all planes."""
    xs, ys, _ = np.nonzero(template)
    along_x, along_y = (
        slice(max(0, int(found.min()) - MARGIN), int(found.max()) + 1 + MARGIN)
        for found in (xs, ys)
    )
    return along_x, along_y, slice(0, template.shape[2])


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
    volume = read_stored(path).oriented("RAS")
    return volume.values().astype(np.uint8), volume.affine


def _slices(voxels: np.ndarray) -> np.ndarray:
    """Return axial slices of voxels that lead to the right, the front and the top."""
    return np.ascontiguousarray(stack_of(Volume(voxels, np.eye(4)), "axial"))


def _only(plane: np.ndarray, columns: slice) -> np.ndarray:
    part = np.zeros_like(plane)
    part[:, columns] = plane[:, columns]
    return part
