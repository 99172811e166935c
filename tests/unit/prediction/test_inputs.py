from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from syncsam_lightning.errors import DatasetNotFoundError, PromptFileError
from syncsam_lightning.prediction.assignment import assign_prompts
from syncsam_lightning.prediction.inputs import find_inputs, without_masks
from syncsam_lightning.prediction.prompt_list import ListedPrompt
from tests.dicom_files import save_slice

NOT_KNOWN = "neither an image nor a volume (NIfTI, NRRD, MetaImage) nor DICOM"


def png(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(path)
    return path


def nifti(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4)), path)
    return path


def test_a_file_goes_by_its_name_and_what_lies_in_a_folder_by_its_path_from_there(tmp_path: Path):
    png(tmp_path / "in/b.png")
    png(tmp_path / "in/sub/a.JPG".replace("JPG", "jpg"))
    nifti(tmp_path / "in/sub/v.nii.gz")
    png(tmp_path / "in/.hidden/c.png")
    alone = png(tmp_path / "x.tif")
    inputs, skipped = find_inputs([alone, tmp_path / "in"])
    assert [(one.name, one.kind, one.stem) for one in inputs] == [
        ("x.tif", "image", "x"),
        ("b.png", "image", "b"),
        ("sub/a.jpg", "image", "sub/a"),
        ("sub/v.nii.gz", "volume", "sub/v"),
    ]
    assert skipped == []


def test_dots_in_names_are_kept(tmp_path: Path):
    inputs, _ = find_inputs([png(tmp_path / "a.b.png"), nifti(tmp_path / "c.d.nii")])
    assert [one.stem for one in inputs] == ["a.b", "c.d"]


def test_what_is_no_image_is_listed(tmp_path: Path):
    png(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("x")
    inputs, skipped = find_inputs([tmp_path])
    assert len(inputs) == 1
    assert [(s.path, s.reason) for s in skipped] == [(str(tmp_path / "notes.txt"), NOT_KNOWN)]


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[list[Path]]:
    """Folders in each other, so deep that pytest could not remove them."""
    steps = [tmp_path.joinpath(*["d"] * depth) for depth in range(1, 1201)]
    for step in steps:
        step.mkdir()
    yield steps
    for step in reversed(steps):
        for file in step.glob("*.png"):
            file.unlink()
        step.rmdir()


def test_a_folder_of_any_depth_is_looked_through_in_order(tmp_path: Path, deep: list[Path]):
    for folder in (tmp_path, deep[599], deep[1199]):
        png(folder / "a.png")
    (tmp_path / "up").symlink_to(tmp_path)  # would go in circles
    inputs, skipped = find_inputs([tmp_path])
    assert [one.name.count("d/") for one in inputs] == [0, 600, 1200]
    assert skipped == []


def test_a_folder_that_can_not_be_looked_into_is_listed(tmp_path: Path, monkeypatch):
    png(tmp_path / "in/a.png")
    png(tmp_path / "in/closed/b.png")
    look = Path.iterdir

    def refusing(folder: Path):
        if folder.name == "closed":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        return look(folder)

    monkeypatch.setattr(Path, "iterdir", refusing)
    inputs, (skipped,) = find_inputs([tmp_path / "in"])
    assert [one.name for one in inputs] == ["a.png"]
    assert skipped.path == str(tmp_path / "in/closed")
    assert skipped.reason == "the folder can't be looked into: Permission denied"


def test_prompts_and_output_are_no_inputs(tmp_path: Path):
    png(tmp_path / "a.png")
    png(tmp_path / "out/a--object.png")
    (tmp_path / "prompts.json").write_text("[]")
    inputs, skipped = find_inputs([tmp_path], [tmp_path / "out", tmp_path / "prompts.json"])
    assert [one.name for one in inputs] == ["a.png"]
    assert skipped == []


def test_a_folder_of_dicom_files_is_one_volume(tmp_path: Path, dicom):
    folder = dicom(np.zeros((4, 3, 3), np.int16))[0].parent
    inputs, _ = find_inputs([folder])
    (one,) = inputs
    assert (one.name, one.kind, len(one.files), one.stem) == ("series", "dicom", 3, "series")
    inputs, _ = find_inputs([tmp_path])
    assert [one.name for one in inputs] == ["series"]


def other_class(path: Path, target: Path, uid: str, modality: str, *, pixels: bool) -> Path:
    """Write a file of the study that is no image of its series."""
    import pydicom

    made = pydicom.dcmread(path)
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = uid
    made.SeriesInstanceUID, made.Modality = f"1.2.3.{target.stem}", modality
    if not pixels:
        for name in ("Rows", "Columns", "PixelData"):
            del made[name]
    made.save_as(target)
    return target


OTHERS = {
    "seg": ("1.2.840.10008.5.1.4.1.1.66.4", "SEG", True),
    "dose": ("1.2.840.10008.5.1.4.1.1.481.2", "RTDOSE", True),
    "struct": ("1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT", False),
    "plan": ("1.2.840.10008.5.1.4.1.1.481.5", "RTPLAN", False),
    "report": ("1.2.840.10008.5.1.4.1.1.88.33", "SR", False),
    "state": ("1.2.840.10008.5.1.4.1.1.11.1", "PR", False),
}


def test_what_lies_over_a_series_is_left_out_and_does_not_rename_it(dicom):
    files = dicom(np.zeros((4, 3, 3), np.int16))
    folder: Path = files[0].parent
    for name, (uid, modality, pixels) in OTHERS.items():
        other_class(files[0], folder / f"{name}.dcm", uid, modality, pixels=pixels)
    (one,), (left_out,) = find_inputs([folder])
    assert (one.name, len(one.files), one.stem) == ("series", 3, "series")
    assert left_out.path == str(folder)
    assert left_out.reason.startswith("6 DICOM files are left out, being no images of a series (")
    assert "1 DICOM SEG" in left_out.reason
    assert "1 RT Dose" in left_out.reason
    assert "1 Comprehensive SR" in left_out.reason


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_image_is_told_where_nothing_else_is_given(dicom, tmp_path: Path, name: str):
    uid, modality, pixels = OTHERS[name]
    file = dicom(np.zeros((4, 3, 1), np.int16))[0]
    (tmp_path / "alone").mkdir()
    other_class(file, tmp_path / "alone" / f"{name}.dcm", uid, modality, pixels=pixels)
    with pytest.raises(DatasetNotFoundError, match=rf"left out.*{name}\.dcm"):
        find_inputs([tmp_path / "alone"])


def test_masks_of_an_earlier_run_among_the_inputs_are_no_inputs(tmp_path: Path):
    png(tmp_path / "a.png")
    nifti(tmp_path / "sub/v.nii.gz")
    png(tmp_path / "a--liver.png")
    nifti(tmp_path / "sub/v--left_kidney-1f2e3d4c.nii.gz")
    png(tmp_path / "b--liver.png")  # there is no b
    inputs, _ = find_inputs([tmp_path])
    kept, skipped = without_masks(inputs, tmp_path)
    assert [one.name for one in kept] == ["a.png", "b--liver.png", "sub/v.nii.gz"]
    assert [Path(entry.path).name for entry in skipped] == [
        "a--liver.png",
        "v--left_kidney-1f2e3d4c.nii.gz",
    ]
    assert "has the place of a mask of a.png" in skipped[0].reason
    assert without_masks(inputs, tmp_path / "out") == (inputs, [])  # elsewhere they are no masks


@pytest.fixture
def two_series(dicom) -> Path:
    """A folder with a series of three slices and one of a single slice, called T2."""
    import pydicom

    files = dicom(np.zeros((4, 3, 4), np.int16))
    image = pydicom.dcmread(files[1])
    image.SeriesInstanceUID, image.SeriesDescription = "1.2.3", "T2"
    image.save_as(files[1])
    folder: Path = files[0].parent
    return folder


def test_several_series_of_a_folder_go_by_their_uids(two_series: Path):
    inputs, _ = find_inputs([two_series])
    assert len(inputs) == 2
    assert "series/1.2.3" in [one.name for one in inputs]


@pytest.mark.parametrize("by_path", [False, True])
def test_one_of_several_series_is_named_with_its_uid(two_series: Path, by_path: bool):
    inputs, _ = find_inputs([two_series])
    name = str(two_series / "1.2.3") if by_path else "series/1.2.3"
    ((one, _),), (other,) = assign_prompts(inputs, [ListedPrompt(image=name)])
    assert (one.name, one.description) == ("series/1.2.3", "T2")
    (uid,) = {found.name.partition("/")[2] for found in inputs} - {"1.2.3"}
    assert (other.path, other.reason) == (str(two_series / uid), "there is no prompt about it")


@pytest.mark.parametrize("by_path", [False, True])
def test_the_folder_of_several_series_names_none_of_them(two_series: Path, by_path: bool):
    inputs, _ = find_inputs([two_series])
    name = str(two_series) if by_path else "series"
    with pytest.raises(PromptFileError) as told:
        assign_prompts(inputs, [ListedPrompt(image=name, where="p.csv, line 2")])
    assert str(told.value).startswith(f"p.csv, line 2: {name!r} is the name of 2 images; give the")
    assert "series/1.2.3 (T2, 1 file)" in str(told.value)
    assert "(3 files)" in str(told.value)


def test_a_dicom_file_of_its_own_is_not_called_by_its_folder(dicom):
    file = dicom(np.zeros((4, 3, 1), np.int16))[0]
    (one,), _ = find_inputs([file])
    assert not one.is_one_of_several


def test_a_path_that_does_not_exist_is_named(tmp_path: Path):
    with pytest.raises(DatasetNotFoundError, match=r"none\.png does not exist"):
        find_inputs([tmp_path / "none.png"])


def test_a_folder_without_images_is_told_with_what_it_has(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DatasetNotFoundError, match=r"nothing to segment.*notes\.txt"):
        find_inputs([tmp_path])


def test_prompts_find_their_images_by_name_or_path(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    png(tmp_path / "in/a.png")
    png(tmp_path / "in/b.png")
    png(tmp_path / "in/c.png")
    png(tmp_path / "in/d.png")
    inputs, _ = find_inputs([Path("in")])
    prompts = [
        ListedPrompt(image="b.png"),
        ListedPrompt(image="in/a.png"),
        ListedPrompt(image="../in/c.png"),
        ListedPrompt(image="b.png", label="second"),
    ]
    pairs, without = assign_prompts(inputs, prompts, base=tmp_path / "prompts")
    assert [(one.name, len(about)) for one, about in pairs] == [
        ("a.png", 1),
        ("b.png", 2),
        ("c.png", 1),
    ]
    assert [(s.path, s.reason) for s in without] == [("in/d.png", "there is no prompt about it")]


def test_a_prompt_without_an_image_is_about_all(tmp_path: Path):
    inputs, _ = find_inputs([png(tmp_path / "a.png"), png(tmp_path / "b.png")])
    pairs, without = assign_prompts(inputs, [ListedPrompt()])
    assert len(pairs) == 2
    assert without == []


def test_a_prompt_about_an_image_that_is_not_there_is_an_error(tmp_path: Path):
    inputs, _ = find_inputs([png(tmp_path / "a.png")])
    with pytest.raises(
        PromptFileError, match=r"p\.json, entry 3: there is no image 'c\.png'.*a\.png"
    ):
        assign_prompts(inputs, [ListedPrompt(image="c.png", where="p.json, entry 3")])


def test_a_name_that_two_images_have_is_an_error(tmp_path: Path):
    inputs, _ = find_inputs([png(tmp_path / "x/a.png"), png(tmp_path / "y/a.png")])
    with pytest.raises(PromptFileError, match=r"name of 2 images.*x/a\.png, .*y/a\.png"):
        assign_prompts(inputs, [ListedPrompt(image="a.png")])
    pairs, _ = assign_prompts(inputs, [ListedPrompt(image=str(tmp_path / "y/a.png"))])
    assert [one.path for one, _ in pairs] == [tmp_path / "y/a.png"]


def radiographs(folder: Path, count: int) -> Path:
    """Images of one file each, with a series of its own for each, as archives give them out."""
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = np.full((6, 5), number)
        path = folder / f"{number}.dcm"
        save_slice(path, pixels, (0, 0, 0), SeriesInstanceUID=f"1.2.{number}")
    return folder


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", ["sub/0.dcm", "xrays/sub/0.dcm", "{root}/xrays/sub/0.dcm"])
def test_a_series_of_one_file_is_called_by_its_file_too(
    tmp_path: Path, count: int, name: str, monkeypatch: pytest.MonkeyPatch
):
    folder = radiographs(tmp_path / "xrays/sub", count)
    monkeypatch.chdir(tmp_path)
    inputs, _ = find_inputs([tmp_path / "xrays"])
    asked = ListedPrompt(image=name.format(root=tmp_path))
    ((one, _),), without = assign_prompts(inputs, [asked])
    assert one.files == (folder / "0.dcm",)
    assert len(without) == count - 1


def test_a_series_of_several_files_is_not_called_by_one_of_them(tmp_path: Path, dicom):
    dicom(np.zeros((5, 6, 2), np.int16))
    inputs, _ = find_inputs([tmp_path / "series"])
    with pytest.raises(PromptFileError, match="there is no image '000'"):
        assign_prompts(inputs, [ListedPrompt(image="000")])
