"""One volume from whatever holds it."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes.dicom import read_series, read_series_place
from syncsam_lightning.volumes.dicom_file import is_dicom
from syncsam_lightning.volumes.dicom_series import SortedFiles, find_series
from syncsam_lightning.volumes.itk_files import SUFFIXES as ITK_SUFFIXES
from syncsam_lightning.volumes.itk_files import is_itk, read_itk, read_itk_place, read_itk_stored
from syncsam_lightning.volumes.nifti import SUFFIXES as NIFTI_SUFFIXES
from syncsam_lightning.volumes.nifti import is_nifti, read_nifti
from syncsam_lightning.volumes.place import Place
from syncsam_lightning.volumes.stored import read_place, read_stored
from syncsam_lightning.volumes.volume import Volume

log = logging.getLogger(__name__)

VOLUME_SUFFIXES = (*NIFTI_SUFFIXES, *ITK_SUFFIXES)
"""Endings of files that are volumes by their name: NIfTI, NRRD, MetaImage."""


def is_volume_file(path: Path) -> bool:
    """Whether a file's name is that of a volume."""
    return is_nifti(path) or is_itk(path)


def read_volume_file(path: Path) -> Volume:
    """Read a NIfTI, NRRD or MetaImage file as an image; what is guessed about it is warned of.

    Raises:
        BrokenInputError: it is none of these, is damaged or no volume.
        MissingPackageError: SimpleITK is needed and not installed.
    """
    return read_itk(path) if is_itk(path) else read_nifti(path)


def read_volume(path: str | os.PathLike[str]) -> Volume:
    """Read a volume file, a folder with one DICOM series, or a DICOM file of a single image.

    Raises:
        BrokenInputError: it is none of these, is damaged, or the folder holds several series.
        MissingPackageError: a package for its format is not installed.
    """
    place = Path(path)
    if not place.is_dir() and (is_volume_file(place) or not place.exists()):
        return read_volume_file(place)
    if place.is_dir():
        found = find_folder_series(place)
        if found.others:
            log.warning("%s: %s", place, found.left_out)
        return read_series(_only_series(place, found))
    return read_series(_dicom_files(place))


def read_stored_volume(path: Path, *, nan_is_background: bool = False) -> Volume:
    """Read a volume in the numbers in which it is stored, those of DICOM in what they measure.

    Args:
        path: see :func:`read_volume`.
        nan_is_background: see :func:`~syncsam_lightning.volumes.stored.read_stored`.

    Raises:
        BrokenInputError: see :func:`read_volume`.
        MissingPackageError: see :func:`read_volume`.
    """
    if is_itk(path) and not path.is_dir():
        return read_itk_stored(path, nan_is_background=nan_is_background)
    if not path.is_dir() and (is_nifti(path) or not path.exists()):
        return read_stored(path, nan_is_background=nan_is_background)
    return read_series(_dicom_files(path))


def read_volume_place(path: Path) -> Place:
    """Read where the voxels of a volume lie, and nothing of them.

    Args:
        path: see :func:`read_volume`.

    Raises:
        BrokenInputError: see :func:`read_volume`.
        MissingPackageError: see :func:`read_volume`.
    """
    if is_itk(path) and not path.is_dir():
        return read_itk_place(path)
    if path.is_dir() or not is_nifti(path):
        return read_series_place(_dicom_files(path))
    try:
        with path.open("rb") as file:
            return read_place(file, str(path), path.stat().st_size)
    except OSError as error:
        raise BrokenInputError(str(path), f"cannot be read ({error})") from error


def find_folder_series(folder: Path) -> SortedFiles:
    """Find what the DICOM files are that lie in a folder.

    Raises:
        MissingPackageError: pydicom is not installed.
    """
    return find_series(sorted(file for file in folder.iterdir() if is_dicom(file)))


def _dicom_files(path: Path) -> Sequence[Path]:
    """Return the files of the one series of a folder, or a file that is DICOM."""
    if path.is_dir():
        return _only_series(path, find_folder_series(path))
    if is_dicom(path):
        return [path]
    known = " or ".join(VOLUME_SUFFIXES)
    raise BrokenInputError(str(path), f"is neither {known} nor a DICOM file or folder")


def _only_series(path: Path, found: SortedFiles) -> Sequence[Path]:
    if found.broken:
        raise found.broken[0]
    if not found.series:
        raise BrokenInputError(
            str(path),
            "holds no DICOM series itself (folders in it are not looked into); give the folder in "
            "which its files are",
        )
    if len(found.series) > 1:
        names = [f"{one.description or one.uid} ({len(one.files)})" for one in found.series]
        raise BrokenInputError(
            str(path),
            f"holds {len(names)} DICOM series: {', '.join(names)}; give a folder with one",
        )
    return found.series[0].files
