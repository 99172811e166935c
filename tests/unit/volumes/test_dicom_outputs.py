"""Masks of DICOM series lie where the series lies, for every reader."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from numpy.typing import ArrayLike

from syncsam_lightning.volumes import Volume
from syncsam_lightning.volumes.nifti import write_nifti
from syncsam_lightning.volumes.reading import read_volume
from syncsam_lightning.volumes.segmentation import write_segmentation
from tests.dicom_files import dicom_errors
from tests.dicom_phantoms import PHANTOMS, SHAPE, TILTED, VALUES, Phantom

KINDS = {**PHANTOMS, "tilted": TILTED}
TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
MASK = np.zeros(SHAPE, bool)
MASK[1:4, 2:5, 1:4] = VALUES[1:4, 2:5, 1:4] > -300
MASK[2, 3, 1:4] = True  # on each of these slices something


@pytest.fixture(params=list(KINDS))
def phantom(request: pytest.FixtureRequest) -> Phantom:
    return KINDS[request.param]


@pytest.fixture
def series(phantom: Phantom, tmp_path: Path) -> Path:
    return phantom.write(tmp_path / "series")


@pytest.fixture
def volume(series: Path) -> Volume:
    return read_volume(series)


def corners(shape: tuple[int, ...]) -> np.ndarray:
    """Return the indices of the eight corner voxels, ``(8, 3)``."""
    return np.array(list(np.ndindex(2, 2, 2))) * (np.array(shape) - 1)


def in_space(image: sitk.Image) -> np.ndarray:
    """Return where SimpleITK has the corners, in mm left, posterior, superior."""
    return np.array(
        [
            image.TransformIndexToPhysicalPoint([int(n) for n in corner])
            for corner in corners(image.GetSize())
        ]
    )


def by_itk(series: Path) -> sitk.Image:
    files = sorted(series.iterdir())
    if len(files) == 1:
        return sitk.ReadImage(str(files[0]))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series)))
    return reader.Execute()


def test_every_voxel_is_what_and_where_the_scanner_says(phantom: Phantom, volume: Volume):
    np.testing.assert_allclose(volume.voxels, VALUES, atol=1e-3)
    np.testing.assert_allclose(
        nib.affines.apply_affine(volume.affine, corners(SHAPE)),
        nib.affines.apply_affine(TO_RAS @ phantom.affine, corners(SHAPE)),
        atol=1e-3,
    )


def test_simple_itk_reads_the_same(phantom: Phantom, series: Path, volume: Volume):
    if phantom.frames or phantom.shear or phantom.syntax == "RLELossless":
        pytest.skip("SimpleITK takes frames as they are stored, no sheared grid, and no such RLE")
    image = by_itk(series)
    np.testing.assert_allclose(
        in_space(image),
        nib.affines.apply_affine(TO_RAS @ volume.affine, corners(SHAPE)),
        atol=1e-3,
    )


def test_a_nifti_mask_lies_there_in_nibabel_and_simple_itk(
    phantom: Phantom, volume: Volume, tmp_path: Path
):
    write_nifti(tmp_path / "mask.nii.gz", MASK, volume)
    written = nib.load(tmp_path / "mask.nii.gz")
    expected = nib.affines.apply_affine(TO_RAS @ phantom.affine, corners(SHAPE))
    np.testing.assert_array_equal(np.asanyarray(written.dataobj) > 0, MASK)
    np.testing.assert_allclose(
        nib.affines.apply_affine(written.affine, corners(SHAPE)), expected, atol=1e-3
    )
    if phantom.shear:
        return  # no NIfTI of a sheared grid is one to ITK
    image = sitk.ReadImage(str(tmp_path / "mask.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).transpose(2, 1, 0) > 0, MASK)
    np.testing.assert_allclose(in_space(image), expected * [-1, -1, 1], atol=1e-3)


def marked(seg: pydicom.Dataset) -> Iterator[np.ndarray]:
    """Yield where the voxels of a segmentation are, in mm left, posterior, superior."""
    (shared,) = seg.SharedFunctionalGroupsSequence
    rows, columns = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    directions = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    along_row, along_column = np.array(directions, float).reshape(2, 3)
    frames = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    for pixels, groups in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        at = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        for row, column in np.argwhere(pixels):
            yield at + column * columns * along_row + row * rows * along_column


def assert_same_places(found: ArrayLike, expected: np.ndarray) -> None:
    """Compare places in whatever order, to 1e-3 mm."""
    distances = np.linalg.norm(np.asarray(found)[:, None] - expected, axis=-1)
    assert distances.shape == (len(expected), len(expected))
    assert max(distances.min(axis=0).max(), distances.min(axis=1).max()) < 1e-3


def test_a_segmentation_lies_there_voxel_by_voxel(phantom: Phantom, volume: Volume, tmp_path: Path):
    write_segmentation(tmp_path / "seg.dcm", {"liver": MASK}, volume)
    places = nib.affines.apply_affine(phantom.affine, np.argwhere(MASK))
    assert_same_places(list(marked(pydicom.dcmread(tmp_path / "seg.dcm"))), places)


def test_simple_itk_has_the_segmentation_there(phantom: Phantom, volume: Volume, tmp_path: Path):
    if phantom.shear:
        pytest.skip("an image of ITK has no sheared grid")
    write_segmentation(tmp_path / "seg.dcm", {"liver": MASK}, volume)
    image = sitk.ReadImage(str(tmp_path / "seg.dcm"))
    # Of a picture of single bits SimpleITK fills up the last byte by chance: the place is its, the
    # bits are pydicom's.
    drawn = np.argwhere(pydicom.dcmread(tmp_path / "seg.dcm").pixel_array.transpose(2, 1, 0))
    found = [image.TransformIndexToPhysicalPoint(voxel.tolist()) for voxel in drawn]
    places = nib.affines.apply_affine(phantom.affine, np.argwhere(MASK))
    assert_same_places(found, places)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy is not installed")
def test_a_segmentation_is_valid(volume: Volume, tmp_path: Path):
    write_segmentation(tmp_path / "seg.dcm", {"liver": MASK, "肝臓": MASK}, volume)
    assert dicom_errors(tmp_path / "seg.dcm") == []
