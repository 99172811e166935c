"""What fuzzing of NRRD, MetaImage and DICOM SEG starts from."""

from __future__ import annotations

import tempfile
import zlib
from functools import cache
from pathlib import Path

import numpy as np

from syncsam_lightning.volumes import Volume
from syncsam_lightning.volumes.reading import read_volume
from syncsam_lightning.volumes.segmentation import write_segmentation
from tests.dicom_files import save_slice
from tests.itk_files import mha, nrrd

VOXELS = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
_SEGMENT = ("Segment0_Name:=liver", "Segment0_LabelValue:=1", "Segment0_Layer:=0")


def itk_files() -> list[bytes]:
    """NRRD and MetaImage, also such as lie about their voxels or keep them elsewhere."""
    layers = np.ones((2, 2, 3, 4), np.uint8)
    vectors = "none (1,0,0) (0,1,0) (0,0,1)"
    data = zlib.compress(VOXELS.tobytes())
    zipped = mha(VOXELS, CompressedData="True", CompressedDataSize=str(len(data)))
    return [
        nrrd(VOXELS),
        nrrd(VOXELS, encoding="gzip"),
        nrrd(VOXELS, "spacings: 1 2 3", space="", directions="", origin=""),
        nrrd(layers, *_SEGMENT, kinds="list domain domain domain", directions=vectors),
        nrrd(VOXELS, "data file: x.raw"),
        nrrd(VOXELS).replace(b"sizes: 2 3 4", b"sizes: 99999 99999 99999"),
        nrrd(VOXELS.astype(np.float32), directions="(1,0,0) (nan,0,0) (0,0,1)"),
        mha(VOXELS),
        zipped[: -VOXELS.nbytes] + data,
        mha(VOXELS, ElementDataFile="LIST"),
        mha(VOXELS).replace(b"2 3 4", b"99999 99999 99999"),
        mha(VOXELS, ElementNumberOfChannels="3"),
    ]


@cache
def sound_series() -> tuple[Volume, list[bytes]]:
    """Return a series of two slices, and a SEG of each kind of mask over it."""
    with tempfile.TemporaryDirectory() as folder:
        for k in range(2):
            save_slice(Path(folder, f"{k}.dcm"), np.zeros((3, 4)), (0.0, 0.0, 2.5 * k))
        volume = read_volume(folder)
        one, other = np.zeros((2, 4, 3, 2), bool)
        one[1:3, 1, 0] = other[2, :, 1] = True
        files = []
        for masks in ({"a": one, "b": other}, {"a": one, "b": one}):
            path = Path(folder, "x.seg")
            write_segmentation(path, masks, volume)
            files.append(path.read_bytes())
        return volume, files


def seg_files() -> list[bytes]:
    """DICOM SEG over :func:`sound_series`."""
    sound = sound_series()[1]
    rows = b"\x28\x00\x10\x00"
    return [*sound, *(data.replace(rows + b"US", rows + b"IT") for data in sound)]
