"""Sizes and places of masks in volumes whose grid is no usual one."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from syncsam_lightning.prediction import Predictor, VolumePredictor
from syncsam_lightning.prediction.assignment import assign_prompts
from syncsam_lightning.prediction.file_predictor import FilePredictor, Found
from syncsam_lightning.prediction.inputs import find_inputs
from syncsam_lightning.prediction.prompt_list import ListedPrompt
from syncsam_lightning.volumes import Volume
from syncsam_lightning.volumes.place import is_sheared, place_of
from tests.dicom_files import save_slice

TILT = np.tan(np.deg2rad(20))
AFFINE = np.array([[-0.8, 0, 0, 9], [0, -0.8, 2.5 * TILT, 7], [0, 0, 2.5, -30], [0, 0, 0, 1]])
SHAPE = (20, 22, 12)


def bright() -> np.ndarray:
    voxels = np.full(SHAPE, -1000, np.int16)
    voxels[6:14, 7:15, 3:9] = 100
    return voxels


def segment(predictor: Predictor, path: Path, output: Path, **options: object) -> Found:
    volumes = VolumePredictor(predictor, plane="axial")
    runner = FilePredictor(predictor, volumes, output, **options)
    inputs, _ = find_inputs([path])
    prompt = ListedPrompt(label="block", slice=5, box=(4, 4, 18, 19))
    outcome = runner.run(assign_prompts(inputs, [prompt])[0])
    (found,) = outcome.found
    return found


def nifti(path: Path, affine: np.ndarray | None, unit: str = "unknown") -> Path:
    image = nib.Nifti1Image(bright(), affine)
    image.header.set_xyzt_units(unit)
    nib.save(image, path)
    return path


def series(folder: Path) -> Path:
    folder.mkdir()
    for number, pixels in enumerate(np.moveaxis(bright(), 2, 0)):
        position = (-9.0, -7 - 2.5 * number * TILT, 2.5 * number - 30)
        save_slice(folder / f"{number}.dcm", pixels.T + 1024, position, PixelSpacing=[0.8, 0.8])
    return folder


def test_millilitres_of_a_tilted_volume_are_those_of_its_slices(
    predictor: Predictor, tmp_path: Path
):
    found = segment(predictor, nifti(tmp_path / "v.nii", AFFINE), tmp_path / "out")
    assert found.pixels == 8 * 8 * 6
    assert found.millilitres == pytest.approx(8 * 8 * 6 * 0.8 * 0.8 * 2.5 / 1000, abs=1e-4)


@pytest.mark.parametrize(("unit", "scale"), [("micron", 1e3), ("meter", 1e-3)])
def test_millilitres_are_those_of_the_unit(
    predictor: Predictor, tmp_path: Path, unit: str, scale: float
):
    affine = np.diag([0.8 * scale, 0.8 * scale, 2.5 * scale, 1])
    found = segment(predictor, nifti(tmp_path / "v.nii", affine, unit), tmp_path / "out")
    assert found.millilitres == pytest.approx(8 * 8 * 6 * 0.8 * 0.8 * 2.5 / 1000, abs=1e-4)


def test_no_millilitres_are_made_up(predictor: Predictor, tmp_path: Path):
    image = nib.Nifti1Image(bright(), None)
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    nib.save(image, tmp_path / "v.nii")
    found = segment(predictor, tmp_path / "v.nii", tmp_path / "out")
    assert found.millilitres is None
    assert str(found).startswith("v.nii: block, axial slices 3-8, 384 voxels (")


def test_no_millilitres_are_made_up_of_a_radiograph(predictor: Predictor, tmp_path: Path):
    import pydicom

    path = series(tmp_path / "series") / "5.dcm"
    image = pydicom.dcmread(path)
    del image.PixelSpacing, image.ImagePositionPatient, image.ImageOrientationPatient
    image.save_as(path)
    volumes = VolumePredictor(predictor)
    runner = FilePredictor(predictor, volumes, tmp_path / "out", volume_format="nifti")
    prompt = ListedPrompt(label="block", box=(4, 4, 18, 19))
    (found,) = runner.run(assign_prompts(find_inputs([path])[0], [prompt])[0]).found
    assert (found.pixels, found.millilitres) == (64, None)


@pytest.mark.parametrize("kind", ["nifti", "dicom"])
def test_a_tilted_volume_may_be_written_at_right_angles(
    predictor: Predictor, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
):
    path = nifti(tmp_path / "v.nii", AFFINE) if kind == "nifti" else series(tmp_path / "v")
    found = segment(predictor, path, tmp_path / "out", volume_format="nifti", resample=True)
    assert caplog.messages == []
    written = nib.load(tmp_path / "out" / found.file)
    drawn = Volume(np.asanyarray(written.dataobj), written.affine)
    assert not is_sheared(place_of(drawn))
    assert drawn.voxels.sum() * drawn.voxel_volume / 1000 == pytest.approx(
        found.millilitres, rel=0.01
    )
    middle = nib.affines.apply_affine(drawn.affine, np.argwhere(drawn.voxels).mean(axis=0))
    np.testing.assert_allclose(middle, AFFINE[:3] @ [9.5, 10.5, 5.5, 1], atol=0.4)


def test_a_straight_volume_is_not_touched_by_it(predictor: Predictor, tmp_path: Path):
    path = nifti(tmp_path / "v.nii", np.diag([0.8, 0.8, 2.5, 1]))
    found = segment(predictor, path, tmp_path / "out", resample=True)
    written = nib.load(tmp_path / "out" / found.file)
    np.testing.assert_array_equal(written.affine, nib.load(path).affine)
    assert written.shape == SHAPE


def test_a_dicom_seg_is_not_resampled_which_is_told(
    predictor: Predictor, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    found = segment(predictor, series(tmp_path / "v"), tmp_path / "out", resample=True)
    assert found.file == "v.seg.dcm"
    assert "for masks on a grid at right angles give --volume_format nifti too" in caplog.text


def test_masks_of_a_volume_sheared_beyond_use_stay_where_it_lies(
    predictor: Predictor, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    affine = AFFINE.copy()
    affine[1, 2] = 4000
    path = nifti(tmp_path / "v.nii", affine)
    found = segment(predictor, path, tmp_path / "out", resample=True)
    mask = nib.load(tmp_path / "out" / found.file)
    assert mask.shape == SHAPE
    np.testing.assert_allclose(mask.affine, nib.load(path).affine)
    assert "a grid at right angles around it would have 20 x 55022 x 12 voxels" in caplog.text
