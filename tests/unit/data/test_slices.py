"""The paper's selection of objects, against a second, plain computation with another library."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import pytest

from syncsam_lightning.data.components import SmallestObject
from syncsam_lightning.data.intensity import SliceRange
from syncsam_lightning.data.nifti import VolumeFile
from syncsam_lightning.data.readers import resolve_image, resolve_mask
from syncsam_lightning.data.slices import LabelFile, LabelledVolume, Labels, Slicer, SliceRule
from syncsam_lightning.data.sources import Entry, open_source
from syncsam_lightning.records import RawSample, Skipped

SHAPE = (48, 40, 4)
SHARE = 0.004
NAMES = {1: "a", 2: "b"}


@pytest.fixture
def volume(tmp_path: Path) -> LabelledVolume:
    rng = np.random.default_rng(3)
    # Blobs of all sizes: noise, enlarged.
    labels = np.kron(rng.choice(3, (24, 20, 4), p=[0.6, 0.2, 0.2]), np.ones((2, 2, 1)))
    labels[:, :, 2] = 0
    nib.save(nib.Nifti1Image(labels.astype(np.uint8), np.eye(4)), tmp_path / "labels.nii.gz")
    voxels = rng.integers(-99, 99, SHAPE).astype(np.int16)
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / "image.nii.gz")
    source = open_source(tmp_path)
    image, masks = (
        VolumeFile.of(source, entry) for entry in source.entries() if isinstance(entry, Entry)
    )
    found = [Labels(LabelFile(masks), masks.path, NAMES)]
    return LabelledVolume("v", "v", image, found, "ct", "test")


def expected(volume: LabelledVolume, strictly: bool) -> Iterator[tuple[int, str, np.ndarray]]:
    labels = np.asanyarray(nib.load(volume.labels[0].path).dataobj)
    for position in range(SHAPE[2]):
        plane = labels[:, :, position]
        for value, name in NAMES.items():
            mask = (plane == value).astype(np.uint8)
            count, numbers = cv2.connectedComponents(mask, connectivity=8)
            for number in range(1, count):
                share = (numbers == number).sum() / plane.size
                if share > SHARE or (share == SHARE and not strictly):
                    yield position, name, numbers == number


def objects(samples: list[RawSample]) -> set[tuple[int, str, bytes]]:
    return {
        (int(sample.slice), mask.label, resolve_mask(mask.mask, mask.path).tobytes())
        for sample in samples
        for mask in sample.masks
    }


@pytest.mark.parametrize("strictly", [True, False])
def test_the_objects_are_those_of_another_library(volume: LabelledVolume, strictly: bool):
    smallest = SmallestObject(SHARE, inclusive=not strictly)
    rule = SliceRule(SliceRange(), smallest, by_component=True, upright=False)
    found = list(Slicer(rule).samples(volume))
    samples = [item for item in found if isinstance(item, RawSample)]
    wanted = {(z, name, mask.tobytes()) for z, name, mask in expected(volume, strictly)}
    assert len(wanted) > 20
    assert objects(samples) == wanted
    kinds = [item.kind for item in found if isinstance(item, Skipped)]
    assert kinds == ["object too small", "slice without object"]


def test_numbers_tell_objects_of_a_class_apart(volume: LabelledVolume):
    rule = SliceRule(SliceRange(), SmallestObject(0), by_component=True, upright=False)
    samples = [s for s in Slicer(rule).samples(volume) if isinstance(s, RawSample)]
    for sample in samples:
        named = [(mask.label, mask.instance) for mask in sample.masks]
        assert len(set(named)) == len(named) > 2
        assert len({mask.path for mask in sample.masks}) == len(named)


def test_a_sample_is_read_in_another_process_as_here(volume: LabelledVolume):
    rule = SliceRule(SliceRange(), SmallestObject(SHARE), by_component=False, upright=True)
    samples = [s for s in Slicer(rule).samples(volume) if isinstance(s, RawSample)]
    copies: list[RawSample] = pickle.loads(pickle.dumps(samples))
    assert objects(copies) == objects(samples)
    for sample, copy in zip(samples, copies, strict=True):
        np.testing.assert_array_equal(
            resolve_image(copy.image, copy.path), resolve_image(sample.image, sample.path)
        )
