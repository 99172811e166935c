"""DICOM files, made for tests."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pydicom import Dataset

SERIES, STUDY, FRAME = "1.2.826.1.1", "1.2.826.1.2", "1.2.826.1.3"
AXIAL = (1, 0, 0, 0, 1, 0)


def save_slice(path: Path, stored: np.ndarray, position: tuple[float, ...], **tags: object) -> Path:
    """Write a CT slice: stored values, rescaled by -1024 to Hounsfield units."""
    # Here, so that no other test has to wait for it.
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    image.PatientID, image.PatientName, image.PatientBirthDate, image.PatientSex = (
        "p",
        "A^B",
        "",
        "",
    )
    image.StudyInstanceUID, image.SeriesInstanceUID = STUDY, SERIES
    image.FrameOfReferenceUID, image.Modality = FRAME, "CT"
    image.StudyID, image.StudyDate, image.StudyTime, image.AccessionNumber = "1", "", "", ""
    image.ReferringPhysicianName, image.SeriesNumber, image.InstanceNumber = "", 1, 1
    image.PositionReferenceIndicator = ""
    image.ImagePositionPatient, image.ImageOrientationPatient = list(position), list(AXIAL)
    image.PixelSpacing, image.SliceThickness = [0.8, 0.7], 2.5
    image.Rows, image.Columns = stored.shape
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit, image.PixelRepresentation = 15, 0
    image.RescaleSlope, image.RescaleIntercept, image.RescaleType = 1, -1024, "HU"
    image.PixelData = stored.astype(np.uint16).tobytes()
    for name, value in tags.items():
        setattr(image, name, value)
    image.save_as(path, enforce_file_format=True)
    return path


def dicom_errors(path: Path) -> list[str]:
    """Return what dciodvfy finds wrong with a file; nothing where it is not installed."""
    if shutil.which("dciodvfy") is None:
        return []
    told = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    return [line for line in (told.stdout + told.stderr).splitlines() if line.startswith("Error")]


def group(name: str, **values: object) -> Dataset:
    """Return a functional group: a sequence of one item."""
    from pydicom import Dataset

    inner, outer = Dataset(), Dataset()
    for key, value in values.items():
        setattr(inner, key, value)
    setattr(outer, name, [inner])
    return outer


def save_frames(
    path: Path,
    voxels: np.ndarray,
    heights: Sequence[float] = (),
    *,
    positions: Sequence[Sequence[float]] = (),
    place: Mapping[str, object] | None = None,
    **tags: object,
) -> Path:
    """Write ``(H, W, K)`` Hounsfield units as one enhanced CT.

    Args:
        path: of the file.
        voxels: a frame for each K.
        heights: of the frames; or their ``positions``.
        positions: ImagePositionPatient of the frames.
        place: PixelSpacing and ImageOrientationPatient, where they differ from the usual ones.
        tags: attributes that differ from those of a sound file.
    """
    from pydicom import dcmread
    from pydicom.uid import EnhancedCTImageStorage

    stored = np.moveaxis(voxels, 2, 0).astype(np.int32) + 1024
    image = dcmread(save_slice(path, stored[0], (0.0, 0.0, 0.0)))
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    image.NumberOfFrames, image.PixelData = len(stored), stored.astype(np.uint16).tobytes()
    for name in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "SliceThickness",
        "RescaleSlope",
        "RescaleIntercept",
        "RescaleType",
    ):
        delattr(image, name)
    place = {"PixelSpacing": [0.8, 0.7], "ImageOrientationPatient": list(AXIAL), **(place or {})}
    shared = group("PixelMeasuresSequence", PixelSpacing=place["PixelSpacing"], SliceThickness=2.5)
    shared.update(
        group("PlaneOrientationSequence", ImageOrientationPatient=place["ImageOrientationPatient"])
    )
    shared.update(
        group(
            "PixelValueTransformationSequence",
            RescaleSlope=1,
            RescaleIntercept=-1024,
            RescaleType="HU",
        )
    )
    image.SharedFunctionalGroupsSequence = [shared]
    image.PerFrameFunctionalGroupsSequence = [
        group("PlanePositionSequence", ImagePositionPatient=list(position))
        for position in positions or [(-10.0, -20.0, height) for height in heights]
    ]
    for name, value in tags.items():
        setattr(image, name, value)
    image.save_as(path)
    return path


def save_colours(path: Path, pixels: np.ndarray, kind: str = "RGB", **tags: object) -> Path:
    """Write ``([T,] H, W, 3)`` samples as they are, or ``([T,] H, W)`` ones, as ultrasound."""
    from pydicom.uid import UltrasoundImageStorage

    path.parent.mkdir(parents=True, exist_ok=True)
    count = pixels.ndim - 2 - (pixels.shape[-1] == 3)
    height, width = pixels.shape[count : count + 2]
    tags = {
        "SOPClassUID": UltrasoundImageStorage,
        "Modality": "US",
        "ImagePositionPatient": None,
        "ImageOrientationPatient": None,
        "PixelSpacing": None,
        "Rows": height,
        "Columns": width,
        "SamplesPerPixel": 3 if pixels.shape[-1] == 3 else 1,
        "PhotometricInterpretation": kind,
        "PlanarConfiguration": 0,
        "BitsAllocated": 8 * pixels.itemsize,
        "BitsStored": 8 * pixels.itemsize,
        "HighBit": 8 * pixels.itemsize - 1,
        "RescaleSlope": None,
        "RescaleIntercept": None,
        "PixelData": pixels.tobytes(),
        **({"NumberOfFrames": len(pixels)} if count else {}),
        **tags,
    }
    return save_slice(path, np.zeros((height, width)), (0.0, 0.0, 0.0), **tags)
