"""The slices of a series, as highdicom takes the sources of a segmentation.

highdicom takes images of one frame, or one enhanced image. So that each series is written the same
way, every slice stands in as an image of one frame, with a UID of its own; afterwards what points
to it is made to point to the file, and the frame, that it is in.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes.dicom import read_slices
from syncsam_lightning.volumes.dicom_file import need, read_header, refusing
from syncsam_lightning.volumes.frames import PER_FRAME, SHARED, FileSlice
from syncsam_lightning.volumes.volume import Volume

log = logging.getLogger(__name__)

UNICODE = "ISO_IR 192"
_CT, _SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.7"
_MAY_BE_EMPTY = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
)
"""Attributes of type 2 (PS3.5 7.4.3): they must be there, and may be empty."""

_OF_A_SLICE = (
    "SOPInstanceUID",
    "ImagePositionPatient",
    "NumberOfFrames",
    "SpacingBetweenSlices",
    SHARED,
    PER_FRAME,
)
"""Attributes of the first slice that the others don't have alike."""

_SEXES = ("M", "F", "O")


@dataclass(frozen=True, slots=True)
class Sources:
    """What a segmentation is drawn over.

    Args:
        images: stand-ins of the slices in the order of K, datasets of pydicom.
        references: UID of a stand-in -> class and UID of the file that holds it, and the number of
            the frame there, from 1; None: the file holds no more than this slice.
    """

    images: Sequence[Any]
    references: dict[str, tuple[str, str, int | None]]


def sources_of(volume: Volume) -> Sources:
    """Return the slices of a volume as sources.

    Texts are decoded, whatever their character set, and are meant to be written in Unicode. What
    may be empty is, where it is missing or can't be a value of its kind; the latter is told. Slices
    are as thick as they say, else as they lie apart.

    Raises:
        BrokenInputError: the series lacks what a SEG must say; names the attribute.
    """
    files = list(dict.fromkeys(volume.files))
    slices = {(one.path, one.frame or 0): one for one in read_slices(files)}
    ordered = [slices[place] for place in zip(volume.files, volume.frames, strict=True)]
    if ordered[0].is_film:
        raise BrokenInputError(
            str(ordered[0].path),
            "is a film, whose frames lie nowhere that a DICOM SEG can refer to",
        )
    num_slices = Counter(one.path for one in slices.values())
    common = _common(ordered[0], volume)
    images: list[Any] = []
    references: dict[str, tuple[str, str, int | None]] = {}
    for one in ordered:
        image = need("pydicom").Dataset()
        image.update(common)
        image.SOPInstanceUID = need("highdicom").UID()
        if "FrameOfReferenceUID" in common:
            image.ImagePositionPatient = one.header.ImagePositionPatient
        frame = None if num_slices[one.path] == 1 else (one.frame or 0) + 1
        sop_class = _required(one.path, one.header, "SOPClassUID")
        uid = _required(one.path, one.header, "SOPInstanceUID")
        references[str(image.SOPInstanceUID)] = (sop_class, uid, frame)
        images.append(image)
    return Sources(images, references)


def _common(one: FileSlice, volume: Volume) -> Any:
    """Return what all slices have in common, by the header of the first."""
    path, place = one.path, one.header
    image = read_header(path)
    with refusing(path, "holds text that can't be read"):
        image.decode()
    for name in _OF_A_SLICE:
        image.pop(name, None)
    for name in ("StudyInstanceUID", "SeriesInstanceUID"):
        _required(path, image, name)
    for name in _MAY_BE_EMPTY:
        setattr(image, name, _fitting(path, name, image.get(name)))
    image.SpecificCharacterSet = UNICODE
    image.Modality = image.get("Modality") or "OT"
    if place.get("ImagePositionPatient"):
        _required(path, image, "FrameOfReferenceUID")
        image.SOPClassUID = _CT
        image.ImageOrientationPatient = place.ImageOrientationPatient
        # Volume by area: the distance along the normal, in a sheared volume too.
        distance = abs(np.linalg.det(volume.affine[:3, :3])) / np.prod(volume.spacing[:2])
        image.SliceThickness = place.get("SliceThickness") or round(float(distance), 6)
    else:
        image.SOPClassUID = _SECONDARY_CAPTURE
        for name in ("FrameOfReferenceUID", "ImageOrientationPatient"):
            image.pop(name, None)
    if volume.has_spacing:
        columns, rows = (round(distance, 9) for distance in volume.spacing[:2])
        image.PixelSpacing = [rows, columns]
    else:
        image.pop("PixelSpacing", None)
    return image


def _required(path: Path, header: Any, name: str) -> str:
    if not header.get(name):
        raise BrokenInputError(str(path), f"has no {name}, which a DICOM SEG must refer to")
    return str(header.get(name))


def _fitting(path: Path, name: str, value: Any) -> Any:
    """Return the value of an attribute that may be empty; empty if it is none of its kind."""
    kinds = {"Date": need("pydicom").valuerep.DA, "Time": need("pydicom").valuerep.TM}
    try:
        if value and name.endswith(("Date", "Time")):
            kinds[name[-4:]](value)
        if name == "PatientSex" and value and value not in _SEXES:
            raise ValueError(value)
    except (ValueError, TypeError):
        log.warning("%s: its %s is none, and is left empty in the DICOM SEG", path, name)
        return ""
    return value or ""


def refer_to_files(segmentation: Any, sources: Sources) -> None:
    """Make what points to stand-ins point to the files and frames that they stand for.

    Args:
        segmentation: a dataset that highdicom has made of the stand-ins; changed in place.
        sources: see :func:`sources_of`.
    """
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        for derivation in frame.get("DerivationImageSequence", ()):
            for source in derivation.SourceImageSequence:
                # Segments on one slice share what points to it.
                if reference := sources.references.get(source.ReferencedSOPInstanceUID):
                    _refer(source, reference)
    of_files: dict[str, Any] = {}
    for source in segmentation.SourceImageSequence:
        sop_class, uid, _ = sources.references[source.ReferencedSOPInstanceUID]
        _refer(source, (sop_class, uid, None))
        of_files.setdefault(uid, source)
    segmentation.SourceImageSequence = list(of_files.values())
    segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence = list(of_files.values())


def _refer(source: Any, reference: tuple[str, str, int | None]) -> None:
    source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID, frame = reference
    if frame is not None:
        source.ReferencedFrameNumber = frame
