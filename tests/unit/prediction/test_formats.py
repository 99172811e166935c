"""Predictions in NRRD, MetaImage, colour DICOM, films and images of several files."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK
from syncsam_datamodules.mask_folder import MaskFolder

from syncsam_lightning.data.readers import resolve_mask
from syncsam_lightning.prediction.prompt_list import ListedPrompt
from tests.ball_volume import AFFINE, ball, dice, hounsfield
from tests.dicom_files import save_colours, save_frames
from tests.itk_files import save_itk


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_masks_of_nrrd_and_metaimage_are_nifti_in_their_place(segment, tmp_path: Path, suffix: str):
    path = save_itk(tmp_path / f"scan{suffix}", hounsfield(), AFFINE)
    (found,) = segment([path], [ListedPrompt(label="ball", slice=6, box=(3, 3, 18, 17))]).found
    assert found.file == "scan--ball.nii.gz"
    written = nib.load(tmp_path / "out/scan--ball.nii.gz")
    np.testing.assert_allclose(written.affine, AFFINE, atol=1e-6)
    assert dice(np.asanyarray(written.dataobj) > 0, ball()) > 0.95
    # ITK places both alike.
    mask, image = (SimpleITK.ReadImage(str(p)) for p in (tmp_path / "out" / found.file, path))
    for corner in ((0, 0, 0), (19, 21, 11), (19, 0, 11)):
        np.testing.assert_allclose(
            mask.TransformIndexToPhysicalPoint(corner),
            image.TransformIndexToPhysicalPoint(corner),
            atol=1e-4,
        )


def bright(frames: np.ndarray) -> np.ndarray:
    return np.repeat(np.where(frames, 250, 5).astype(np.uint8)[..., None], 3, axis=-1)


def test_an_ultrasound_in_colour_has_a_seg_that_mask_folder_trains_on(segment, tmp_path: Path):
    disc = ball()[:, :, 6].T
    path = save_colours(tmp_path / "data/images/u1.dcm", bright(disc))
    (found,) = segment([path], [ListedPrompt(label="cyst", box=(4, 7, 15, 18))]).found
    assert (found.file, found.millilitres) == ("u1.dcm.seg.dcm", None)
    (tmp_path / "out").rename(tmp_path / "data/masks")
    (tmp_path / "data/masks/predictions.csv").unlink()
    (sample,) = MaskFolder().records(tmp_path / "data")
    (mask,) = sample.masks
    assert mask.label == "cyst"
    assert dice(resolve_mask(mask.mask, mask.path), disc) > 0.95


def test_a_film_is_segmented_from_frame_to_frame(
    segment, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("WARNING")
    frames = ball().transpose(2, 1, 0)
    path = save_colours(tmp_path / "film.dcm", bright(frames))
    (found,) = segment([path], [ListedPrompt(label="cyst", slice=6, box=(4, 7, 15, 18))]).found
    assert (found.file, found.millilitres) == ("film.dcm--cyst.nii.gz", None)
    mask = np.asanyarray(nib.load(tmp_path / "out" / found.file).dataobj)
    assert dice(mask.transpose(2, 1, 0) > 0, frames) > 0.9
    assert "is a film, whose frames lie nowhere" in caplog.text
    (tmp_path / "data/images").mkdir(parents=True)
    path.rename(tmp_path / "data/images/film.dcm")
    (tmp_path / "out").rename(tmp_path / "data/masks")
    samples = [one for one in MaskFolder().records(tmp_path / "data") if hasattr(one, "masks")]
    assert [sample.slice for sample in samples] == [f"{n:04d}" for n in np.flatnonzero(
        mask.any(axis=(0, 1)))]  # fmt: skip


def test_a_part_of_an_image_of_many_frames_is_segmented_and_told(
    segment, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("WARNING")
    voxels, about = hounsfield().transpose(1, 0, 2), {"ConcatenationUID": "1.2.826.1.9"}
    (tmp_path / "series").mkdir()
    for part, held in enumerate((slice(0, 7), slice(7, 12))):
        save_frames(
            tmp_path / f"series/{part}.dcm", voxels[..., held], np.arange(12)[held] * 2.5,
            InConcatenationNumber=part + 1, InConcatenationTotalNumber=2, **about,
        )  # fmt: skip
    prompts = [ListedPrompt(label="ball", slice=6, box=(4, 7, 15, 18))]
    segment([tmp_path / "series"], prompts)
    assert "is not there" not in caplog.text
    seg = pydicom.dcmread(tmp_path / "out/series.seg.dcm")
    uids = [pydicom.dcmread(tmp_path / f"series/{part}.dcm").SOPInstanceUID for part in range(2)]
    for frame in seg.PerFrameFunctionalGroupsSequence:
        (source,) = frame.DerivationImageSequence[0].SourceImageSequence
        number = round(frame.PlanePositionSequence[0].ImagePositionPatient[2] / 2.5)
        part, first = (0, 0) if number < 7 else (1, 7)
        assert source.ReferencedSOPInstanceUID == uids[part]
        assert source.ReferencedFrameNumber == number - first + 1
    segment([tmp_path / "series/0.dcm"], prompts)
    assert "part 2 of 2 of the image that they are parts of is not there" in caplog.text
