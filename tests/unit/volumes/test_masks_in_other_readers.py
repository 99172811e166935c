"""Masks lie where their volumes lie, in every reader: nibabel and ITK are the judges."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from syncsam_lightning.volumes import Volume
from syncsam_lightning.volumes.dicom import read_series
from syncsam_lightning.volumes.nifti import read_nifti, write_nifti
from syncsam_lightning.volumes.resampling import resampled
from tests.dicom_files import save_slice

SHAPE = (7, 6, 5)
MILLIMETRES = 1e-3
ITK_TO_RAS = [-1, -1, 1]


def corners(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    return [*product(*((0, count - 1) for count in shape))]


def in_nibabel(path: Path) -> np.ndarray:
    image = nib.load(path)
    return nib.affines.apply_affine(image.affine, corners(image.shape[:3]))


def in_itk(path: Path) -> np.ndarray:
    image = SimpleITK.ReadImage(str(path))
    places = [image.TransformIndexToPhysicalPoint(at) for at in corners(image.GetSize())]
    return np.array(places) * ITK_TO_RAS


def voxels_in_itk(path: Path) -> np.ndarray:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))).T


def oblique(axes: tuple[int, ...] = (0, 1, 2), flips: tuple[int, ...] = (1, 1, 1)) -> np.ndarray:
    """Spacing 0.8, 1.1, 2.5 mm, turned by a few degrees about each axis, in some order of axes."""
    turn = np.eye(3)
    for (first, second), angle in zip(((0, 1), (0, 2), (1, 2)), (0.1, -0.2, 0.15), strict=True):
        one = np.eye(3)
        one[first, first] = one[second, second] = np.cos(angle)
        one[first, second], one[second, first] = -np.sin(angle), np.sin(angle)
        turn = turn @ one
    affine = np.eye(4)
    affine[:3, :3] = (turn * (0.8, 1.1, 2.5) * flips)[:, list(axes)]
    affine[:3, 3] = -61.2, 33.4, 105.6
    return affine


def save(
    path: Path,
    affine: np.ndarray,
    codes: tuple[int, int] = (1, 1),
    dtype: str = "<i2",
    cls: Any = nib.Nifti1Image,
    unit: str = "mm",
    shape: tuple[int, ...] = SHAPE,
) -> Path:
    header = cls.header_class(endianness=">" if dtype.startswith(">") else "<")
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header.set_zooms(np.linalg.norm(affine[:3, :3], axis=0)[: len(shape)])
    header.set_qform(affine, code=codes[0])
    header.set_sform(affine, code=codes[1])
    header.set_xyzt_units(unit)
    image = cls(np.ones(shape, np.dtype(dtype)), None, header)
    nib.save(image, path)
    return path


CASES: dict[str, dict[str, Any]] = {
    **{
        f"axes {axes}, flips {flips}": {"affine": oblique(axes, flips)}
        for axes, flips in zip(
            [*permutations(range(3)), (0, 1, 2), (0, 1, 2), (2, 1, 0)],
            [(1, 1, 1), (-1, 1, 1)] * 3 + [(-1, -1, 1), (1, -1, -1), (-1, -1, -1)],
            strict=True,
        )
    },
    **{f"dtype {dtype}": {"dtype": dtype} for dtype in ("|u1", "<i4", ">i2", "<f4", ">f8")},
    **{f"codes {codes}": {"codes": codes} for codes in ((1, 0), (0, 2), (4, 4), (1, 3))},
    "NIfTI-2": {"cls": nib.Nifti2Image},
    "NIfTI-2, big-endian": {"cls": nib.Nifti2Image, "dtype": ">f4"},
    "no unit": {"unit": "unknown"},
    "one slice": {"shape": (7, 6, 1)},
    "two axes": {"shape": (7, 6)},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nibabel_and_itk_see_a_mask_where_they_see_its_volume(
    tmp_path: Path, case: str, suffix: str
):
    path = save(tmp_path / f"v{suffix}", **{"affine": oblique()} | CASES[case])
    volume = read_nifti(path)
    mask = np.random.default_rng(0).random(volume.voxels.shape) > 0.5
    written = tmp_path / f"m{suffix}"
    write_nifti(written, mask, volume)
    three = volume.voxels.shape
    expected = nib.affines.apply_affine(volume.affine, corners(three))
    np.testing.assert_allclose(in_nibabel(written), expected, atol=MILLIMETRES)
    np.testing.assert_allclose(in_itk(written), expected, atol=MILLIMETRES)
    np.testing.assert_array_equal(np.asanyarray(nib.load(written).dataobj), mask)
    np.testing.assert_array_equal(voxels_in_itk(written), mask)
    assert isinstance(nib.load(written), nib.Nifti1Image)  # ITK reads no NIfTI-2
    assert not isinstance(nib.load(written), nib.Nifti2Image)
    if "NIfTI-2" not in case and case != "two axes":
        np.testing.assert_allclose(in_itk(written), in_itk(path), atol=MILLIMETRES)


@pytest.mark.parametrize(("unit", "millimetres"), [("micron", 1e-3), ("meter", 1e3)])
def test_lengths_in_other_units_become_millimetres(tmp_path: Path, unit: str, millimetres: float):
    affine = oblique()
    stored = affine.copy()
    stored[:3] /= millimetres
    path = save(tmp_path / "v.nii", stored, unit=unit)
    volume = read_nifti(path)
    np.testing.assert_allclose(volume.affine, affine, rtol=1e-5)
    assert volume.voxel_volume == pytest.approx(0.8 * 1.1 * 2.5)
    write_nifti(tmp_path / "m.nii", np.ones(SHAPE, bool), volume)
    # The mask keeps the unit, so that it lies on its volume in readers that don't look at units.
    np.testing.assert_array_equal(in_nibabel(tmp_path / "m.nii"), in_nibabel(path))
    np.testing.assert_array_equal(in_itk(tmp_path / "m.nii"), in_itk(path))
    np.testing.assert_allclose(
        SimpleITK.ReadImage(str(path)).GetSpacing(), volume.spacing, rtol=1e-5
    )


def test_a_header_that_places_nothing_stays_one(tmp_path: Path):
    path = save(tmp_path / "v.nii", np.diag([1, 1, 3.0, 1]), codes=(0, 0))
    write_nifti(tmp_path / "m.nii", np.ones(SHAPE, bool), read_nifti(path))
    np.testing.assert_array_equal(in_nibabel(tmp_path / "m.nii"), in_nibabel(path))
    np.testing.assert_array_equal(in_itk(tmp_path / "m.nii"), in_itk(path))


def tilted_series(folder: Path, degrees: float = 20) -> Volume:
    folder.mkdir()
    stored = np.random.default_rng(0).integers(0, 2000, (5, 6, 7))
    files = [
        save_slice(
            folder / f"{number}.dcm",
            pixels,
            (-9.0, -7 + 2.5 * number * np.tan(np.deg2rad(degrees)), 2.5 * number),
        )
        for number, pixels in enumerate(stored)
    ]
    return read_series(files)


def test_a_mask_of_a_series_lies_where_the_series_lies(tmp_path: Path):
    volume = tilted_series(tmp_path / "series", degrees=0)
    write_nifti(tmp_path / "m.nii", volume.voxels > 0, volume)
    expected = nib.affines.apply_affine(volume.affine, corners(volume.voxels.shape))
    np.testing.assert_allclose(in_nibabel(tmp_path / "m.nii"), expected, atol=MILLIMETRES)
    np.testing.assert_allclose(in_itk(tmp_path / "m.nii"), expected, atol=MILLIMETRES)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "series")))
    series = reader.Execute()
    places = [series.TransformIndexToPhysicalPoint(at) for at in corners(series.GetSize())]
    np.testing.assert_allclose(np.array(places) * ITK_TO_RAS, expected, atol=MILLIMETRES)


def test_a_mask_of_a_tilted_series_is_exact_or_refused_but_nowhere_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    volume = tilted_series(tmp_path / "series")
    path = tmp_path / "m.nii.gz"
    write_nifti(path, volume.voxels > 0, volume)
    expected = nib.affines.apply_affine(volume.affine, corners(volume.voxels.shape))
    np.testing.assert_allclose(in_nibabel(path), expected, atol=MILLIMETRES)
    header = nib.load(path).header
    assert (int(header["qform_code"]), int(header["sform_code"])) == (0, 1)
    with pytest.raises(RuntimeError, match="orthonormal"):
        SimpleITK.ReadImage(str(path))
    (told,) = caplog.messages
    assert told.startswith(f"{path}: its axes are not at right angles (a tilted gantry)")
    assert "--resample true" in told


@pytest.mark.parametrize("from_nifti", [False, True])
def test_a_resampled_mask_is_seen_alike_by_all(
    tmp_path: Path, from_nifti: bool, caplog: pytest.LogCaptureFixture
):
    volume = tilted_series(tmp_path / "series")
    if from_nifti:
        sheared = save(tmp_path / "v.nii", volume.affine, codes=(0, 4))
        volume = read_nifti(sheared)
    mask = np.zeros(volume.voxels.shape, bool)
    mask[2:5, 1:4, 1:4] = True
    found = resampled(Volume(mask, volume.affine, header=volume.header))
    write_nifti(tmp_path / "m.nii", found.voxels, found)
    assert caplog.messages == []
    np.testing.assert_allclose(
        in_nibabel(tmp_path / "m.nii"), in_itk(tmp_path / "m.nii"), atol=MILLIMETRES
    )
    np.testing.assert_array_equal(voxels_in_itk(tmp_path / "m.nii"), found.voxels)
    header = nib.load(tmp_path / "m.nii").header
    code = 4 if from_nifti else 1
    assert (int(header["qform_code"]), int(header["sform_code"])) == (code, code)
    # The middle of the object is where it was, to half a pixel.
    before, after = (
        nib.affines.apply_affine(affine, np.argwhere(drawn).mean(axis=0))
        for affine, drawn in ((volume.affine, mask), (found.affine, found.voxels))
    )
    np.testing.assert_allclose(before, after, atol=0.4)


def test_an_axis_too_long_for_nifti_1_is_written_as_nifti_2(tmp_path: Path):
    volume = Volume(np.zeros((40_000, 2, 1), np.uint8), np.diag([0.1, 0.1, 1, 1]))
    write_nifti(tmp_path / "m.nii.gz", volume.voxels > 0, volume)
    assert isinstance(nib.load(tmp_path / "m.nii.gz"), nib.Nifti2Image)
    assert nib.load(tmp_path / "m.nii.gz").shape == (40_000, 2, 1)


def test_nothing_is_printed_for_nifti_2(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    volume = read_nifti(save(tmp_path / "v.nii", oblique(), cls=nib.Nifti2Image))
    write_nifti(tmp_path / "m.nii", volume.voxels > 0, volume)
    assert capfd.readouterr() == ("", "")
