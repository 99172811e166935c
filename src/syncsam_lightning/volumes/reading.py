"""One volume from whatever holds it."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes.dicom import read_series
from syncsam_lightning.volumes.dicom_file import is_dicom
from syncsam_lightning.volumes.dicom_series import find_series
from syncsam_lightning.volumes.nifti import SUFFIXES, is_nifti, read_nifti
from syncsam_lightning.volumes.volume import Volume

log = logging.getLogger(__name__)


def read_volume(path: str | os.PathLike[str]) -> Volume:
    """Read a NIfTI file, a folder with one DICOM series, or a DICOM file of a single image.

    Raises:
        BrokenInputError: it is none of these, is damaged, or the folder holds several series.
        MissingPackageError: it is DICOM and pydicom is not installed.
    """
    place = Path(path)
    if place.is_dir():
        files = sorted(file for file in place.iterdir() if is_dicom(file))
        found = find_series(files)
        if found.broken:
            raise found.broken[0]
        if found.others:
            log.warning("%s: %s", place, found.left_out)
        if len(found.series) != 1:
            names = [f"{one.description or one.uid} ({len(one.files)})" for one in found.series]
            raise BrokenInputError(
                str(place),
                f"holds {len(names)} DICOM series{': ' if names else ''}{', '.join(names)}; "
                "give a folder with one",
            )
        return read_series(found.series[0].files)
    if is_dicom(place):
        return read_series([place])
    if is_nifti(place) or not place.exists():
        return read_nifti(place)
    raise BrokenInputError(
        str(place), f"is neither {' or '.join(SUFFIXES)} nor a DICOM file or folder"
    )
