from __future__ import annotations

import csv
import json
import weakref
from collections.abc import Iterator
from pathlib import Path

import highdicom as hd
import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import Image

from syncsam_lightning.prediction import Predictor, VolumePrediction, VolumePredictor
from syncsam_lightning.prediction.prompt_list import ListedPrompt
from tests.ball_volume import AFFINE, ball, dice, hounsfield


def nifti(path: Path) -> Path:
    nib.save(nib.Nifti1Image(hounsfield(), AFFINE), path)
    return path


BOX_AROUND = (4.0, 4.0, 15.0, 18.0)


def test_each_object_of_an_image_is_a_png(segment, square_file: Path, tmp_path: Path):
    outcome = segment(
        [square_file],
        [
            ListedPrompt(label="left half", box=(20, 10, 30, 20)),
            ListedPrompt(label="cell", box=(20, 10, 40, 20)),
            ListedPrompt(label="cell", box=(30, 10, 40, 20)),
        ],
    )
    files = [one.file for one in outcome.found]
    assert files == ["square--left half.png", "square--cell.png", "square--cell--2.png"]
    mask = np.asarray(Image.open(tmp_path / "out" / files[2]))
    assert mask.shape == (40, 80)
    assert set(np.unique(mask)) == {0, 255}
    assert mask[15, 35] == 255
    assert mask[15, 25] == 0
    assert outcome.found[2].pixels == (mask == 255).sum()


def test_a_prompt_that_cannot_be_used_keeps_its_number(segment, square_file: Path):
    boxes = [(20, 10, 30, 20), (20, 10, 400, 20), (30, 10, 40, 20)]
    outcome = segment([square_file], [ListedPrompt(label="cell", box=box) for box in boxes])
    assert [one.file for one in outcome.found] == ["square--cell.png", "square--cell--3.png"]
    assert [one.object for one in outcome.found] == [1, 3]
    assert len(outcome.skipped) == 1


def test_masks_of_images_are_what_mask_folder_reads(segment, square_file: Path, tmp_path: Path):
    from syncsam_datamodules.mask_folder import MaskFolder

    segment([square_file], [ListedPrompt(label="cell", box=(20, 10, 40, 20))] * 2)
    (tmp_path / "data/images").mkdir(parents=True)
    square_file.rename(tmp_path / "data/images/square.png")
    (tmp_path / "out").rename(tmp_path / "data/masks")
    (tmp_path / "data/masks/predictions.csv").unlink()
    (sample,) = MaskFolder().records(tmp_path / "data")
    assert sorted((mask.label, mask.instance) for mask in sample.masks) == [
        ("cell", 0),
        ("cell", 2),
    ]


def test_a_nifti_volume_keeps_its_place(segment, tmp_path: Path):
    path = nifti(tmp_path / "scan.nii.gz")
    outcome = segment([path], [ListedPrompt(label="ball", slice=6, box=(3, 3, 18, 17))])
    written = nib.load(tmp_path / "out/scan--ball.nii.gz")
    np.testing.assert_array_equal(written.affine, nib.load(path).affine)
    assert dice(np.asanyarray(written.dataobj) > 0, ball()) > 0.95
    (found,) = outcome.found
    assert (found.plane, found.slices) == ("axial", "2-10")
    assert found.ends == "down of 2: the mask is empty; up of 10: the mask is empty"
    assert found.millilitres == pytest.approx(found.pixels * 0.8 * 0.8 * 2.5 / 1000, abs=1e-4)
    assert str(found) == (
        f"scan.nii.gz: ball, axial slices 2-10, {found.millilitres:.1f} ml ({found.ends})"
    )


def test_a_hole_between_two_prompts_is_told(
    segment, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    voxels = hounsfield()
    voxels[:, :, 6] = -1000
    nib.save(nib.Nifti1Image(voxels, AFFINE), tmp_path / "scan.nii.gz")
    prompts = [ListedPrompt(label="ball", slice=n, box=(3, 3, 18, 17)) for n in (3, 8)]
    (found,) = segment([tmp_path / "scan.nii.gz"], prompts).found
    assert found.slices == "2-5, 7-10"
    assert "axial slices 2-5, 7-10, " in str(found)
    assert "scan.nii.gz: ball has a hole" in caplog.text
    assert "on slices 6-6; prompt it there too" in caplog.text


def test_a_volume_in_which_nothing_is_drawn_has_no_slices(segment, tmp_path: Path):
    path = nifti(tmp_path / "scan.nii.gz")
    (found,) = segment([path], [ListedPrompt(label="ball", slice=0, box=(0, 0, 3, 3))]).found
    assert found.slices == ""
    assert "axial slices none, 0.0 ml" in str(found)


def test_a_dicom_series_becomes_a_dicom_seg(segment, dicom, tmp_path: Path):
    files = dicom(hounsfield())
    outcome = segment(
        [files[0].parent],
        [
            ListedPrompt(label="ball", slice=6, box=BOX_AROUND),
            ListedPrompt(label="nothing", slice=0, box=(0, 0, 3, 3)),
        ],
    )
    assert [one.file for one in outcome.found] == ["series.seg.dcm", ""]
    assert "nothing is empty" in outcome.skipped[0].reason
    seg = hd.seg.segread(tmp_path / "out/series.seg.dcm")
    assert [s.segment_label for s in seg.SegmentSequence] == ["ball"]
    by_height = sorted(files, key=lambda file: pydicom.dcmread(file).ImagePositionPatient[2])
    frames = seg.get_pixels_by_source_instance(
        [pydicom.dcmread(file).SOPInstanceUID for file in by_height],
        assert_missing_frames_are_empty=True,
    )
    assert dice(frames[..., 0].transpose(2, 1, 0) > 0, ball()) > 0.95


def test_a_dicom_series_may_become_nifti(segment, dicom, tmp_path: Path):
    files = dicom(hounsfield())
    segment(
        [files[0].parent],
        [ListedPrompt(label="ball", slice=6, box=BOX_AROUND)],
        volume_format="nifti",
    )
    written = nib.load(tmp_path / "out/series--ball.nii.gz")
    assert nib.aff2axcodes(written.affine) == ("L", "P", "S")
    np.testing.assert_allclose(written.header.get_zooms(), (0.7, 0.8, 2.5), rtol=1e-6)
    assert dice(np.asanyarray(written.dataobj) > 0, ball()) > 0.95


def test_a_single_dicom_image_needs_no_slice(segment, dicom, tmp_path: Path):
    files = dicom(hounsfield(), names=tuple(range(12)))
    outcome = segment([files[6]], [ListedPrompt(label="ball", box=BOX_AROUND)])
    assert outcome.skipped == []
    assert outcome.found[0].slices == "0-0"
    assert (tmp_path / "out" / outcome.found[0].file).is_file()


def test_what_cannot_be_used_is_listed_and_the_rest_goes_on(
    segment, square_file: Path, tmp_path: Path
):
    broken = tmp_path / "broken.png"
    broken.write_bytes(square_file.read_bytes()[:60])
    volume = nifti(tmp_path / "scan.nii.gz")
    outcome = segment(
        [broken, square_file, volume],
        [
            ListedPrompt(label="whole", box=(18, 8, 42, 22)),
            ListedPrompt(label="outside", box=(0, 0, 900, 10), where="p.csv, line 4"),
        ],
    )
    assert [(one.image, one.label) for one in outcome.found] == [("square.png", "whole")]
    reasons = [entry.reason for entry in outcome.skipped]
    assert reasons[0].startswith("cannot be decoded")
    assert "outside (p.csv, line 4): box 0, 0, 900, 10 reaches beyond" in reasons[1]
    assert "says on which slice it lies (0 to 11)" in reasons[2]
    lines = [json.loads(line) for line in (tmp_path / "out/skipped.jsonl").read_text().splitlines()]
    assert [line["reason"] for line in lines] == reasons


def test_a_list_says_what_each_file_is(segment, square_file: Path, tmp_path: Path):
    segment([square_file], [ListedPrompt(label="whole", box=(18, 8, 42, 22))])
    with (tmp_path / "out/predictions.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["image"], row["label"], row["file"]) == ("square.png", "whole", "square--whole.png")
    assert 0 < float(row["score"]) <= 1


def test_a_list_of_an_earlier_run_does_not_stay(segment, square_file: Path, tmp_path: Path):
    segment([square_file], [ListedPrompt(box=(0, 0, 900, 9))])
    assert (tmp_path / "out/skipped.jsonl").exists()
    segment([square_file], [ListedPrompt(box=(18, 8, 42, 22))])
    assert not (tmp_path / "out/skipped.jsonl").exists()


@pytest.mark.parametrize("volume_format", ["png", "nifti", "dicom_seg"])
def test_a_further_run_replaces_files_of_its_names_and_leaves_others(
    segment, dicom, square_file: Path, tmp_path: Path, volume_format: str
):
    path, place = square_file, {"slice": None}
    options: dict[str, object] = {}
    if volume_format != "png":
        path, place = dicom(hounsfield())[0].parent, {"slice": 6}
        options = {"volume_format": volume_format}
    wide, narrow = BOX_AROUND, (7.0, 9.0, 12.0, 14.0)
    if volume_format == "png":
        wide, narrow = (18, 8, 42, 22), (20, 10, 30, 20)
    first = [ListedPrompt(label=label, box=wide, **place) for label in ("ball", "other")]
    before = {one.file for one in segment([path], first, **options).found}
    content = {file: (tmp_path / "out" / file).read_bytes() for file in before}
    (found,) = segment([path], [ListedPrompt(label="ball", box=narrow, **place)], **options).found
    changed = {f for f in before if (tmp_path / "out" / f).read_bytes() != content[f]}
    assert changed == {found.file}
    masks = {path.name for path in (tmp_path / "out").iterdir()} - {"predictions.csv"}
    assert masks == before
    with (tmp_path / "out/predictions.csv").open(encoding="utf-8") as file:
        assert [row["label"] for row in csv.DictReader(file)] == ["ball"]


def test_masks_of_two_images_never_get_one_name(segment, square_file: Path, tmp_path: Path):
    twin = tmp_path / "square.tif"
    Image.open(square_file).save(twin)
    outcome = segment([square_file, twin], [ListedPrompt(box=(18, 8, 42, 22))])
    assert len(outcome.found) == 1
    assert "masks would have the names of those of" in outcome.skipped[0].reason


def test_a_file_that_cannot_be_read_takes_no_name_from_another(segment, tmp_path: Path):
    whole = nifti(tmp_path / "scan.nii.gz")
    broken = tmp_path / "scan.nii"
    broken.write_bytes(whole.read_bytes()[:200])
    outcome = segment([broken, whole], [ListedPrompt(label="ball", slice=6, box=(3, 3, 18, 17))])
    assert [one.image for one in outcome.found] == ["scan.nii.gz"]
    assert [entry.path for entry in outcome.skipped] == [str(broken)]


def test_seg_for_what_is_no_dicom_is_refused(segment, tmp_path: Path):
    path = nifti(tmp_path / "scan.nii.gz")
    outcome = segment(
        [path], [ListedPrompt(slice=6, box=(3, 3, 18, 17))], volume_format="dicom_seg"
    )
    assert outcome.found == []
    assert "no DICOM series" in outcome.skipped[0].reason


def test_a_slice_of_an_image_makes_no_sense(segment, square_file: Path):
    outcome = segment([square_file], [ListedPrompt(slice=3, box=(18, 8, 42, 22))])
    assert "an image has no slices" in outcome.skipped[0].reason


@pytest.fixture
def without_frame(dicom) -> Path:
    """A slice that lies in no frame of reference, which a SEG must refer to."""
    path: Path = dicom(hounsfield(), names=tuple(range(12)))[6]
    image = pydicom.dcmread(path)
    del image.FrameOfReferenceUID
    image.save_as(path)
    return path


def test_a_series_that_can_have_no_dicom_seg_is_listed_with_the_remedy(
    segment, without_frame: Path, predictor: Predictor
):
    prompt = ListedPrompt(label="ball", box=BOX_AROUND)
    (skipped,) = segment([without_frame], [prompt], volume_format="dicom_seg").skipped
    assert "has no FrameOfReferenceUID" in skipped.reason
    assert "volume_format nifti" in skipped.reason
    assert predictor.model.asked == []  # before anything was segmented in vain


def test_its_masks_are_nifti_where_the_format_is_left_open(
    segment, without_frame: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    outcome = segment([without_frame], [ListedPrompt(label="ball", box=BOX_AROUND)])
    assert (outcome.found[0].file, outcome.skipped) == ("006--ball.nii.gz", [])
    written = nib.load(tmp_path / "out/006--ball.nii.gz")
    assert dice(np.asanyarray(written.dataobj)[..., 0] > 0, ball()[..., 6]) > 0.9
    assert "its masks are written as NIfTI" in caplog.text
    assert "has no FrameOfReferenceUID" in caplog.text


def test_two_objects_of_one_name_are_told_before_anything_is_segmented(
    segment, dicom, predictor: Predictor
):
    prompts = [
        ListedPrompt(label=label, object=number, slice=6, box=BOX_AROUND)
        for label, number in (("cyst", 2), ("cyst--2", None))
    ]
    (skipped,) = segment([dicom(hounsfield())[0].parent], prompts).skipped
    assert "two objects that would both be called cyst--2" in skipped.reason
    assert predictor.model.asked == []


def test_objects_of_one_segment_name_have_files_of_their_own(segment, tmp_path: Path):
    prompts = [
        ListedPrompt(label=label, object=number, slice=6, box=BOX_AROUND)
        for label, number in (("cyst", 2), ("cyst--2", None))
    ]
    outcome = segment([nifti(tmp_path / "scan.nii.gz")], prompts)
    assert outcome.skipped == []
    assert len({one.file for one in outcome.found}) == 2


def test_masks_are_on_the_disk_before_the_next_object_is_asked_about(
    segment, predictor: Predictor, square_file: Path, tmp_path: Path, monkeypatch
):
    there: list[int] = []
    ask = predictor.predict

    def watched(**prompt: object):
        there.append(len(list((tmp_path / "out").glob("*.png"))))
        return ask(**prompt)

    monkeypatch.setattr(predictor, "predict", watched)
    prompts = [ListedPrompt(label="cell", box=(20, 10, 30 + n, 20)) for n in range(3)]
    segment([square_file], prompts)
    assert there == [0, 1, 2]


@pytest.mark.parametrize("volume_format", ["nifti", "dicom_seg"])
def test_no_more_than_one_mask_of_a_volume_is_held(
    segment, dicom, monkeypatch: pytest.MonkeyPatch, volume_format: str
):
    seen: list[weakref.ref[np.ndarray]] = []
    held: list[int] = []
    predict = VolumePredictor.predict

    def watched(self: VolumePredictor, *args: object, **options: object) -> VolumePrediction:
        answer = predict(self, *args, **options)
        held.append(sum(ref() is not None for ref in seen))
        seen.extend(map(weakref.ref, arrays_of(answer.mask)))
        return answer

    monkeypatch.setattr(VolumePredictor, "predict", watched)
    prompts = [ListedPrompt(label=f"{n}", slice=6, box=BOX_AROUND) for n in range(6)]
    outcome = segment([dicom(hounsfield())[0].parent], prompts, volume_format=volume_format)
    assert len(outcome.found) == 6
    whole = len(seen) // 6
    assert max(held) <= whole


def arrays_of(view: np.ndarray) -> Iterator[np.ndarray]:
    """Yield an array and what it is a view of."""
    yield view
    if isinstance(view.base, np.ndarray):
        yield from arrays_of(view.base)


def test_objects_that_would_share_a_file_are_told_before_any_is_written(
    segment, square_file: Path, tmp_path: Path
):
    labels = ["cell", "cort\u00e9x", "corte\u0301x"]  # one word in two forms of Unicode
    prompts = [ListedPrompt(label=label, box=(20, 10, 40, 20)) for label in labels]
    outcome = segment([square_file], prompts)
    assert outcome.found == []
    assert "two objects that would both be called cort\u00e9x" in outcome.skipped[0].reason
    assert list((tmp_path / "out").glob("*.png")) == []
