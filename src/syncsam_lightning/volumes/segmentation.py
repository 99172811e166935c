"""Masks of a DICOM series, written as DICOM SEG."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from syncsam_lightning import __version__
from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.seeding import stable_key
from syncsam_lightning.volumes.dicom_file import need
from syncsam_lightning.volumes.segmentation_source import (
    UNICODE,
    Sources,
    refer_to_files,
    sources_of,
)
from syncsam_lightning.volumes.volume import Volume

_SERIES_NUMBER = 1000
_LONGEST_LABEL = 64  # characters of a value of LO (PS3.5 6.2)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


def segment_labels(names: Sequence[str]) -> list[str]:
    """Return the names of objects as labels of segments, which are short and have no backslash.

    A backslash would begin a second value: a slash takes its place. What is too long, or would have
    the label of another, ends in a short hash of its name, so that no two are alike.

    Args:
        names: of the objects, all different.

    Returns:
        a label of 1 to 64 characters for each, all different.
    """
    labels: list[str] = []
    for name in names:
        label = " ".join(_CONTROL.sub(" ", name.replace("\\", "/")).split()) or "object"
        if len(label) > _LONGEST_LABEL or label in labels or (label != name and label in names):
            mark = f"-{stable_key(name) & 0xFFFFFFFF:08x}"
            label = label[: _LONGEST_LABEL - len(mark)].rstrip() + mark
        labels.append(label)
    return labels


def check_segmentation(volume: Volume) -> None:
    """Find out whether masks of a volume can be written as DICOM SEG, by writing a small one.

    Args:
        volume: read from a DICOM series.

    Raises:
        BrokenInputError: the series lacks what the standard demands of the source of a SEG.
        MissingPackageError: highdicom is not installed.
    """
    mask = np.zeros(volume.voxels.shape, bool)
    mask[0, 0, 0] = True
    _saved(io.BytesIO(), {"object": mask}, volume, "SyncSAM")


def write_segmentation(
    path: Path, masks: Mapping[str, np.ndarray], volume: Volume, *, algorithm: str = "SyncSAM"
) -> None:
    """Write the objects of a series as one binary DICOM SEG (PS3.3 A.51), a segment each.

    Patient, study and frame of reference are the series's, so that viewers lay it over the images.
    Objects may overlap. Labels are free text, in Unicode; what a label has no room for stands in
    the description of the segment. The coded type is the general "Tissue" since a free text says
    nothing about a terminology.

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
    if not any(mask.any() for mask in masks.values()):
        raise ValueError("a DICOM SEG needs an object with foreground")
    for label, mask in masks.items():
        if mask.shape != volume.voxels.shape:
            raise ValueError(f"mask {label} has shape {mask.shape}, not {volume.voxels.shape}")
    _saved(path, masks, volume, algorithm)


def _saved(
    target: Path | io.BytesIO, masks: Mapping[str, np.ndarray], volume: Volume, algorithm: str
) -> None:
    need("highdicom")
    sources = sources_of(volume)
    try:
        written = _segmentation(masks, sources, algorithm)
        written.SpecificCharacterSet = UNICODE
        first = sources.images[0]
        if "ImagePositionPatient" not in first:  # type 2C of General Image, left out by highdicom
            written.PatientOrientation = first.get("PatientOrientation") or ""
        refer_to_files(written, sources)
        written.save_as(target)
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        reason = " ".join(str(error).split())
        raise BrokenInputError(
            str(volume.files[0]), f"no DICOM SEG can be made for its series ({reason})"
        ) from error


def _segmentation(masks: Mapping[str, np.ndarray], sources: Sources, algorithm: str) -> Any:
    hd = need("highdicom")
    frames = np.stack([mask.transpose(2, 1, 0) for mask in masks.values()], axis=-1)
    segments = []
    for number, (name, label) in enumerate(
        zip(masks, segment_labels(list(masks)), strict=True), start=1
    ):
        segments.append(_segment(number, label, algorithm))
        if label != name:
            segments[-1].SegmentDescription = name[:1024]
    return hd.seg.Segmentation(
        source_images=sources.images,
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


def _segment(number: int, label: str, algorithm: str) -> Any:
    hd, codes = need("highdicom"), need("pydicom.sr.codedict").codes
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=codes.SCT.Tissue,
        segmented_property_type=codes.SCT.Tissue,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=algorithm, version=__version__, family=codes.DCM.ArtificialIntelligence
        ),
    )
