from __future__ import annotations

import pickle
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from syncsam_lightning.data.sources import Entry, open_source
from syncsam_lightning.data.volume_files import VolumeFile
from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.volumes import Volume

VOXELS = np.arange(60, dtype=np.int16).reshape(4, 5, 3)
AFFINE = np.array([[0, 2.0, 0, 5], [-1.0, 0, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]])


def save(path: Path, voxels: np.ndarray = VOXELS, cls: type = nib.Nifti1Image) -> Path:
    nib.save(cls(voxels, AFFINE), path)
    return path


def volume_file(folder: Path) -> VolumeFile:
    source = open_source(folder)
    (entry,) = source.entries()
    assert isinstance(entry, Entry)
    return VolumeFile.of(source, entry)


def test_the_header_is_read_alone(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 1 << 15, (64, 50, 30)).astype(np.int16)
    path = save(tmp_path / "v.nii.gz", noise)
    path.write_bytes(path.read_bytes()[:100_000])
    shape, affine = volume_file(tmp_path).header()
    assert shape == (64, 50, 30)
    np.testing.assert_allclose(affine, AFFINE)


def test_a_volume_is_read_once_by_all_copies_of_its_file(tmp_path: Path):
    save(tmp_path / "v.nii.gz")
    file = volume_file(tmp_path)
    first = file()
    assert isinstance(first, Volume)
    assert pickle.loads(pickle.dumps(file))() is first


def test_a_damaged_volume_is_read_once_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "v.nii").write_bytes(b"nothing")
    file = volume_file(tmp_path)
    for _ in range(2):
        with pytest.raises(BrokenInputError, match="cannot be read as NIfTI"):
            file()
        monkeypatch.setattr("syncsam_lightning.data.volume_files.read_stored", None)
