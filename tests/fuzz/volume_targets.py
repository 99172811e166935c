"""What is fuzzed of volumes and their masks: NRRD, MetaImage, DICOM SEG."""

from __future__ import annotations

import numpy as np

from syncsam_lightning.volumes.itk_files import read_segments
from syncsam_lightning.volumes.place import place_of
from syncsam_lightning.volumes.segmentation_reading import read_segment_masks, read_segment_names
from tests.fuzz.folder_targets import look_at
from tests.fuzz.target import refused, written
from tests.fuzz.volume_seeds import sound_series


def itk_volume(data: bytes) -> None:
    """A NRRD or MetaImage file to be segmented; what begins as NRRD is called so."""
    path = written("x.nrrd" if data.startswith(b"NRRD") else "x.mha", data)
    refused(lambda: look_at(path))
    refused(lambda: read_segments(path))


def dicom_seg(data: bytes) -> None:
    """A DICOM SEG over a sound series."""
    path, volume = written("x.seg.dcm", data), sound_series()[0]

    def read() -> None:
        names = read_segment_names(path)
        masks = read_segment_masks(path, place_of(volume))
        for number, name in names.items():
            assert isinstance(name, str)
            assert masks.mask(number).shape == np.shape(volume.voxels)

    refused(read)
