"""Masks of a DICOM series, written as DICOM SEG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from syncsam_lightning import __version__
from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes.dicom import need
from syncsam_lightning.volumes.volume import Volume

_SERIES_NUMBER = 1000


def write_segmentation(
    path: Path, masks: Mapping[str, np.ndarray], volume: Volume, *, algorithm: str = "SyncSAM"
) -> None:
    """Write the objects of a series as one binary DICOM SEG (PS3.3 A.51), a segment each.

    Patient, study and frame of reference are the series's, so that viewers lay it over the images.
    Objects may overlap. Labels are free text; the coded type is the general "Tissue" since a free
    text says nothing about a terminology.

    Args:
        path: of the file.
        masks: label -> ``(I, J, K)`` bool; at least one has foreground.
        volume: read from a DICOM series.
        algorithm: name of the model.

    Raises:
        ValueError: no mask has foreground, or a shape is not the volume's.
        BrokenInputError: the series lacks what the standard demands of the source of a SEG.
        MissingPackageError: highdicom is not installed.
    """
    hd, pydicom = need("highdicom"), need("pydicom")
    codes = need("pydicom.sr.codedict").codes
    if not any(mask.any() for mask in masks.values()):
        raise ValueError("a DICOM SEG needs an object with foreground")
    for label, mask in masks.items():
        if mask.shape != volume.voxels.shape:
            raise ValueError(f"mask {label} has shape {mask.shape}, not {volume.voxels.shape}")
    sources = [pydicom.dcmread(file, stop_before_pixels=True) for file in volume.files]
    frames = np.stack([mask.transpose(2, 1, 0) for mask in masks.values()], axis=-1)
    if volume.frames:
        frames = frames[np.argsort(volume.frames)]  # in the order of the file
    identification = hd.AlgorithmIdentificationSequence(
        name=algorithm, version=__version__, family=codes.DCM.ArtificialIntelligence
    )
    segments = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=label[:64],  # the longest that the standard allows
            segmented_property_category=codes.SCT.Tissue,
            segmented_property_type=codes.SCT.Tissue,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
            algorithm_identification=identification,
        )
        for number, label in enumerate(masks, start=1)
    ]
    try:
        written = hd.seg.Segmentation(
            source_images=sources,
            pixel_array=frames.astype(np.uint8),
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=segments,
            series_instance_uid=hd.UID(),
            series_number=_SERIES_NUMBER,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer="SyncSAM Lightning",
            manufacturer_model_name=algorithm,
            software_versions=__version__,
            device_serial_number="1",
            series_description=f"{algorithm} segmentation",
            omit_empty_frames=True,
        )
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        # The series lacks what the standard demands of a source, such as a frame of reference.
        raise BrokenInputError(
            str(volume.files[0]),
            f"its masks can't be DICOM SEG ({error}): write them as NIfTI, volume_format nifti",
        ) from error
    written.save_as(path)
