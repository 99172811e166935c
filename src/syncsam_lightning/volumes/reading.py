"""One volume from whatever holds it."""

from __future__ import annotations

import os
from pathlib import Path

from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes.dicom import find_series, is_dicom, read_series
from syncsam_lightning.volumes.nifti import SUFFIXES, is_nifti, read_nifti
from syncsam_lightning.volumes.volume import Volume


def read_volume(path: str | os.PathLike[str]) -> Volume:
    """Read a NIfTI file, a folder with one DICOM series, or a DICOM file of a single image.

    Raises:
        BrokenInputError: it is none of these, is damaged, or the folder holds several series.
        MissingPackageError: it is DICOM and pydicom is not installed.
    """
    place = Path(path)
    if place.is_dir():
        files = sorted(file for file in place.iterdir() if is_dicom(file))
        series, broken = find_series(files)
        if broken:
            raise broken[0]
        if len(series) != 1:
            found = ", ".join(f"{one.description or one.uid} ({len(one.files)})" for one in series)
            raise BrokenInputError(
                str(place),
                f"holds {len(series)} DICOM series{': ' if found else ''}{found}; "
                "give a folder with one",
            )
        return read_series(series[0].files)
    if is_dicom(place):
        return read_series([place])
    if is_nifti(place) or not place.exists():
        return read_nifti(place)
    raise BrokenInputError(
        str(place), f"is neither {' or '.join(SUFFIXES)} nor a DICOM file or folder"
    )
