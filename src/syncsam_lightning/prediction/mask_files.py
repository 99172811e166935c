"""Masks written beside each other in one folder: PNG, NIfTI, DICOM SEG."""

from __future__ import annotations

import errno
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image

from syncsam_lightning.data.mask_names import object_name
from syncsam_lightning.errors import BrokenInputError, SyncSAMError
from syncsam_lightning.geometry.packed_masks import PackedMasks
from syncsam_lightning.prediction.inputs import Input
from syncsam_lightning.volumes import Volume
from syncsam_lightning.volumes.nifti import MOST_IN_NIFTI1, write_nifti
from syncsam_lightning.volumes.place import is_sheared, place_of
from syncsam_lightning.volumes.resampling import orthogonal_grid, resampled
from syncsam_lightning.volumes.segmentation import check_segmentation, write_segmentation
from syncsam_lightning.volumes.volume import MAX_VOXELS
from syncsam_lightning.whole_files import work_folder

log = logging.getLogger(__name__)

VolumeFormat = Literal["auto", "nifti", "dicom_seg"]
"""``auto``: DICOM SEG for DICOM (where that can be), NIfTI for all other volumes."""


class OutputError(SyncSAMError):
    """Masks can't be written the way that was asked for."""


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class UnwritableOutputError(SyncSAMError):
    """The folder for masks can't be written to, or its disk is full; what is in it is whole."""


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a place to write a file to, which gets the file's name if the block ends well.

    Args:
        path: of the file; folders above it are made.

    Raises:
        UnwritableOutputError: the system refuses to write.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with work_folder(path.parent) as work:
            yield work / path.name
            (work / path.name).replace(path)
    except OSError as error:
        remedy = "give another folder as --output"
        if error.errno in _NO_ROOM:
            remedy = f"make room, or {remedy}"
        elif path.is_dir():
            remedy = f"a folder has this name: move it away, or {remedy}"
        raise UnwritableOutputError(f"{path} could not be written ({error}): {remedy}") from error


@dataclass(frozen=True, slots=True)
class ObjectMask:
    """An object that was found.

    Args:
        label: what it is.
        number: among the objects of this label, from 1.
        mask: ``(H, W)`` or ``(I, J, K)`` bool.
    """

    label: str
    number: int
    mask: np.ndarray

    @property
    def name(self) -> str:
        """Label and number as a segment has them: ``cyst``, ``cyst--2``."""
        return segment_name(self.label, self.number)


def segment_name(label: str, number: int) -> str:
    """Return the name of an object, by its label and its number among those of the label."""
    return label if number == 1 else f"{label}--{number}"


def check_image_labels(image: Input, labels: Sequence[str]) -> None:
    """Check, before anything is written, that each object of an image has a file of its own.

    Args:
        image: that they lie on.
        labels: of the objects, in their order.

    Raises:
        OutputError: two objects would have one file.
    """
    counts = Counter(labels).items()
    names = [object_name(label, n + 1) for label, count in counts for n in range(count)]
    _check_names(names, image)


def write_image_mask(folder: Path, image: Input, found: ObjectMask) -> Path:
    """Write the PNG of 0 and 255 of an object, ``NAME--LABEL.png``, and return its path.

    It is the layout that ``MaskFolder`` trains on.

    Raises:
        UnwritableOutputError: the folder can't be written to.
    """
    path = folder / f"{image.stem}--{object_name(found.label, found.number)}.png"
    with written_whole(path) as place:
        Image.fromarray(found.mask.astype(np.uint8) * 255).save(place)
    return path


def chosen_format(
    source: Input,
    volume: Volume,
    objects: Sequence[tuple[str, int]],
    file_format: VolumeFormat,
) -> VolumeFormat:
    """Say what the masks of a volume will be, before anything is segmented in vain.

    Args:
        source: the volume's files.
        volume: as it was read.
        objects: label and number of each, which become the name of its file or of its segment.
        file_format: what was asked for.

    Returns:
        ``nifti`` or ``dicom_seg``. Of a series that can't have a DICOM SEG ``auto`` gives NIfTI,
        and a warning says why.

    Raises:
        OutputError: two objects would have one name, or SEG is asked for what was no DICOM series.
        BrokenInputError: SEG is asked for and the series can't have it; says which attribute it is.
    """
    files = [object_name(label, number) for label, number in objects]
    if file_format == "nifti" or (file_format == "auto" and source.kind == "volume"):
        _check_names(files, source)
        return "nifti"
    if source.kind != "dicom":
        raise OutputError(f"{source.name} is no DICOM series, so that its masks can't be DICOM SEG")
    try:
        check_segmentation(volume)
    except BrokenInputError as error:
        if file_format == "dicom_seg":
            reason = f"{error.reason}: write its masks as NIfTI, volume_format nifti"
            raise BrokenInputError(error.path, reason) from error
        log.warning(
            "%s: its masks are written as NIfTI, since they can't be DICOM SEG (%s: %s)",
            source.name,
            error.path,
            error.reason,
        )
        _check_names(files, source)
        return "nifti"
    _check_names([segment_name(label, number) for label, number in objects], source)
    return "dicom_seg"


class VolumeMaskWriter:
    """Writes the objects of a volume as they are found, so that many take little more than one.

    NIfTI: a file of 0 and 1 for each, ``NAME--LABEL.nii.gz``, exactly where the volume lies (of a
    sheared one, see :func:`~syncsam_lightning.volumes.nifti.write_nifti`). DICOM SEG: one file for
    all, ``NAME.seg.dcm``, a segment for each object; until :meth:`finish` a bit is kept for each
    object and voxel.

    Args:
        folder: where to.
        source: the volume's files.
        volume: as it was read.
        file_format: which of the two, as :func:`chosen_format` says.
        resample: write NIfTI masks of a sheared volume (a tilted gantry) on a grid at right angles,
            by the nearest voxel; others are on one already. Where that would be too large, a
            warning tells that they stay where they are.
        algorithm: name of the model.
    """

    def __init__(
        self,
        folder: Path,
        source: Input,
        volume: Volume,
        file_format: VolumeFormat,
        *,
        resample: bool = False,
        algorithm: str = "SyncSAM",
    ) -> None:
        self._folder, self._stem, self._volume = folder, source.stem, volume
        self._is_nifti, self._algorithm = file_format == "nifti", algorithm
        self._segments: dict[str, Callable[[], np.ndarray]] = {}
        self._straightens = self._is_nifti and resample and _can_be_straight(source, volume)
        if not self._is_nifti and resample and is_sheared(place_of(volume)):
            log.warning(
                "%s: a DICOM SEG keeps the slices of its series, sheared as they are; for masks on "
                "a grid at right angles give --volume_format nifti too",
                source.name,
            )

    def add(self, found: ObjectMask) -> Path | None:
        """Write an object, or keep it for :meth:`finish`.

        Returns:
            its file; None where a DICOM SEG has no place for it, since it is empty.

        Raises:
            UnwritableOutputError: the folder can't be written to.
        """
        if self._is_nifti:
            name = object_name(found.label, found.number)
            path = self._folder / f"{self._stem}--{name}.nii.gz"
            mask = replace(self._volume, voxels=found.mask)
            if self._straightens:
                mask = resampled(mask)
            with written_whole(path) as place:
                write_nifti(place, mask.voxels, mask)
            return path
        if not found.mask.any():
            return None
        bits = PackedMasks.of(torch.from_numpy(np.ascontiguousarray(found.mask)))
        self._segments[found.name] = partial(_unpacked, bits)
        return self._seg

    def finish(self) -> None:
        """Write the DICOM SEG, if it is to be one and has an object.

        Raises:
            BrokenInputError: the series can't have it.
            UnwritableOutputError: the folder can't be written to.
        """
        if self._segments:
            with written_whole(self._seg) as place:
                write_segmentation(place, self._segments, self._volume, algorithm=self._algorithm)

    @property
    def _seg(self) -> Path:
        return self._folder / f"{self._stem}.seg.dcm"


def _unpacked(bits: PackedMasks) -> np.ndarray:
    mask: np.ndarray = bits[:].numpy()
    return mask


def _can_be_straight(source: Input, volume: Volume) -> bool:
    """Whether a volume is sheared, and a grid at right angles around it is of a usual size."""
    if not is_sheared(place_of(volume)):
        return False
    shape = orthogonal_grid(place_of(volume)).shape
    if max(shape) <= MOST_IN_NIFTI1 and np.prod(shape, dtype=np.float64) <= MAX_VOXELS:
        return True
    log.warning(
        "%s is sheared so far that a grid at right angles around it would have %s voxels: its "
        "masks are written as it lies; look at the affine of its header",
        source.name,
        " x ".join(map(str, shape)),
    )
    return False


def _check_names(names: Sequence[str], source: Input) -> None:
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise OutputError(
            f"{source.name} has two objects that would both be called {twice[0]}: rename a label"
        )
