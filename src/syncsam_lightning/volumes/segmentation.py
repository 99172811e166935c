"""Masks of a DICOM series, written as DICOM SEG."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

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

MANUFACTURER = "SyncSAM Lightning"
"""By which a SEG that was written here is recognised."""

_SERIES_NUMBER = 1000
_LONGEST_LABEL = 64  # characters of a value of LO (PS3.5 6.2)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")

Mask: TypeAlias = np.ndarray | Callable[[], np.ndarray]
"""``(I, J, K)`` bool, or what gives that when it is called: many masks need not be in memory."""


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
    mask = np.zeros(volume.shape, bool)
    mask[0, 0, 0] = True
    _saved(io.BytesIO(), {"object": mask}, volume, "SyncSAM")


def write_segmentation(
    path: Path, masks: Mapping[str, Mask], volume: Volume, *, algorithm: str = "SyncSAM"
) -> None:
    """Write the objects of a series as one binary DICOM SEG (PS3.3 A.51), a segment each.

    Patient, study and frame of reference are the series's, so that viewers lay it over the images.
    Objects may overlap. Labels are free text, in Unicode; what a label has no room for stands in
    the description of the segment. The coded type is the general "Tissue" since a free text says
    nothing about a terminology.

    Args:
        path: of the file.
        masks: by label; at least one has foreground. Of those that are called one is held at a
            time, and where objects overlap a byte for each of them where any is drawn.
        volume: read from a DICOM series.
        algorithm: name of the model.

    Raises:
        ValueError: no mask has foreground, or a shape is not the volume's.
        BrokenInputError: the series lacks what the standard demands of the source of a SEG.
        MissingPackageError: highdicom is not installed.
    """
    _saved(path, masks, volume, algorithm)


def _saved(
    target: Path | io.BytesIO, masks: Mapping[str, Mask], volume: Volume, algorithm: str
) -> None:
    need("highdicom")
    frames = _frames(masks, volume.shape)
    sources = sources_of(volume)
    try:
        written = _segmentation(frames, list(masks), sources, algorithm)
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


def _frames(masks: Mapping[str, Mask], shape: tuple[int, ...]) -> np.ndarray:
    """Return masks as highdicom takes them.

    Returns:
        ``(K, J, I)``, the number of the object that lies there, from 1; of objects that overlap
        ``(K, J, I, N)`` of 0 and 1.
    """
    labels = np.zeros(shape[::-1], np.uint8 if len(masks) < 256 else np.uint16)
    stack: np.ndarray | None = None
    for index, (name, given) in enumerate(masks.items()):
        mask = given() if callable(given) else given
        if mask.shape != shape:
            raise ValueError(f"mask {name} has shape {mask.shape}, not {shape}")
        inside = mask.transpose(2, 1, 0).astype(bool, copy=False)  # numbers would be places
        if stack is None and labels[inside].any():
            # Zeros that are never written to take no memory.
            stack = np.zeros((*labels.shape, len(masks)), np.uint8)
            for earlier in range(index):
                stack[labels == earlier + 1, earlier] = 1
        if stack is None:
            labels[inside] = index + 1
        else:
            stack[inside, index] = 1
    if not labels.any():
        raise ValueError("a DICOM SEG needs an object with foreground")
    return labels if stack is None else stack


def _segmentation(
    frames: np.ndarray, names: Sequence[str], sources: Sources, algorithm: str
) -> Any:
    hd = need("highdicom")
    segments = []
    for number, (name, label) in enumerate(zip(names, segment_labels(names), strict=True), start=1):
        segments.append(_segment(number, label, algorithm))
        if label != name:
            segments[-1].SegmentDescription = name[:1024]
    return hd.seg.Segmentation(
        source_images=sources.images,
        pixel_array=frames,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=segments,
        series_instance_uid=hd.UID(),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer=MANUFACTURER,
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
