"""The paper's selection of objects, against a second, plain computation with another library."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import pytest

from syncsam_lightning.data.components import SmallestObject
from syncsam_lightning.data.conversion.row_units import WriteRows, identify
from syncsam_lightning.data.conversion.units import Unit, cut_units
from syncsam_lightning.data.label_volumes import LabelFile, Labels, SliceRule
from syncsam_lightning.data.readers import resolve_image, resolve_mask
from syncsam_lightning.data.schema import table_schema
from syncsam_lightning.data.slices import LabelledVolume, Slicer
from syncsam_lightning.data.sources import Entry, open_source
from syncsam_lightning.data.volume_files import VolumeFile
from syncsam_lightning.records import RawSample, Skipped
from syncsam_lightning.volumes import Window

SHAPE = (48, 40, 4)
SHARE = 0.004
NAMES = {1: "a", 2: "b"}
PER_SLICE = Window(rule="minmax_slice")


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
    found = [Labels(LabelFile(masks), masks.path, NAMES.get)]
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
    rule = SliceRule(PER_SLICE, "stored", smallest, by_component=True)
    found = list(Slicer(rule).samples(volume))
    samples = [item for item in found if isinstance(item, RawSample)]
    wanted = {(z, name, mask.tobytes()) for z, name, mask in expected(volume, strictly)}
    assert len(wanted) > 20
    assert objects(samples) == wanted
    kinds = [item.kind for item in found if isinstance(item, Skipped)]
    assert kinds == ["object too small", "slice without object"]


def test_numbers_tell_objects_of_a_class_apart(volume: LabelledVolume):
    rule = SliceRule(PER_SLICE, "stored", by_component=True)
    samples = [s for s in Slicer(rule).samples(volume) if isinstance(s, RawSample)]
    for sample in samples:
        named = [(mask.label, mask.instance) for mask in sample.masks]
        assert len(set(named)) == len(named) > 2
        assert len({mask.path for mask in sample.masks}) == len(named)


def test_a_sample_is_read_in_another_process_as_here(volume: LabelledVolume):
    rule = SliceRule(PER_SLICE, "axial", SmallestObject(SHARE))
    samples = [s for s in Slicer(rule).samples(volume) if isinstance(s, RawSample)]
    copies: list[RawSample] = pickle.loads(pickle.dumps(samples))
    assert objects(copies) == objects(samples)
    for sample, copy in zip(samples, copies, strict=True):
        np.testing.assert_array_equal(
            resolve_image(copy.image, copy.path), resolve_image(sample.image, sample.path)
        )


def test_the_window_is_that_of_the_values_where_they_are_stored_by_a_slope(
    volume: LabelledVolume, tmp_path: Path
):
    rule = SliceRule(Window(rule="percentiles"), "stored")
    first = next(item for item in Slicer(rule).samples(volume) if isinstance(item, RawSample))
    stored = np.asanyarray(nib.load(volume.image.path).dataobj)
    falling = nib.Nifti1Image(stored, np.eye(4))
    falling.header.set_slope_inter(-2.0, 5.0)
    nib.save(falling, tmp_path / "falling.nii")
    other = replace(volume, image=VolumeFile(str(tmp_path / "falling.nii")))
    second = next(item for item in Slicer(rule).samples(other) if isinstance(item, RawSample))
    values = stored.astype(float) * -2 + 5
    low, high = np.percentile(values, (0.5, 99.5))
    expected = np.round(((values[:, :, 0] - low) / (high - low)).clip(0, 1) * 255)
    found = resolve_image(second.image, second.path)[..., 0]
    np.testing.assert_allclose(found, expected, atol=1)
    # What is bright in one is dark in the other.
    assert np.corrcoef(resolve_image(first.image, first.path)[..., 0].ravel(), found.ravel())[
        0, 1
    ] == pytest.approx(-1, abs=1e-3)


def test_an_image_that_cannot_be_read_is_one_line_and_one_file(
    volume: LabelledVolume, tmp_path: Path
):
    rule = SliceRule(PER_SLICE, "stored", by_component=True)
    samples = [item for item in Slicer(rule).samples(volume) if isinstance(item, RawSample)]
    assert len(samples) > 1
    path = Path(volume.image.path)
    path.write_bytes(path.read_bytes()[:-60])
    made = WriteRows(str(tmp_path / "t.lance"), table_schema(b"{}"), 256)(unit_of(samples))
    assert [(skip.path, skip.kind) for skip in made.skipped] == [(str(path), "unreadable file")]


def unit_of(samples: list[RawSample]) -> Unit:
    (unit,) = cut_units([(sample, "train") for sample in samples], identify, 100)
    return unit
