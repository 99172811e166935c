from __future__ import annotations

from pathlib import Path

import pytest

from syncsam_lightning.data.mask_layout import MaskFile, find_masks, split_name
from syncsam_lightning.records import Skipped

IMAGES = {name: Path(f"{name}.png") for name in ("a", "a--3")} | {"v": Path("v.nii.gz")}


@pytest.mark.parametrize(
    ("name", "image", "label", "number"),
    [
        ("a.png", "a", None, 0),
        ("a--cut.tif", "a", "cut", 0),
        ("a--cut--2.png", "a", "cut", 2),
        ("a--2.png", "a", "2", 0),
        ("a--3--cut.png", "a--3", "cut", 0),
        ("a--left%2Fright--4.png", "a", "left/right", 4),
        ("a/a-%2D2--7.png", "a", "a--2", 7),
        ("v/肝脏.nii.gz", "v", "肝脏", 0),
    ],
)
def test_a_name_tells_the_image_and_the_object(
    tmp_path: Path, name: str, image: str, label: str | None, number: int
):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert list(find_masks(tmp_path, IMAGES)) == [MaskFile(image, path, label, number)]


VOLUMES = ".nii .nii.gz .nrrd .nhdr .mha .mhd .seg.nrrd .dcm .seg.dcm"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("b.png", "no file in the folder images has its name"),
        ("v.png", f"a mask of v.nii.gz must be one of {VOLUMES}"),
        ("a.gif", "a mask of a.png must be one of .png .tif .tiff .bmp"),
        ("a--cut--x.png", "no file in the folder images has its name"),
    ],
)
def test_what_is_no_mask_is_told(tmp_path: Path, name: str, reason: str):
    (tmp_path / name).touch()
    assert list(find_masks(tmp_path, IMAGES)) == [Skipped(str(tmp_path / name), reason)]


@pytest.mark.parametrize("takes_lossy", [False, True])
def test_jpeg_is_a_mask_where_a_threshold_reads_it(tmp_path: Path, takes_lossy: bool):
    (tmp_path / "a.jpg").touch()
    (found,) = find_masks(tmp_path, IMAGES, takes_lossy=takes_lossy)
    assert isinstance(found, MaskFile) == takes_lossy


def test_the_suffix_of_a_volume_has_two_parts():
    assert split_name(Path("x/p.1.NII.GZ")) == ("p.1", ".nii.gz")
    assert split_name(Path("x/p.1.PNG")) == ("p.1", ".png")
