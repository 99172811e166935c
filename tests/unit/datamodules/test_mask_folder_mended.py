"""What becomes of the work of an interrupted conversion when a mask is mended before it goes on."""

from __future__ import annotations

import json
from pathlib import Path

import lance
import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from syncsam_datamodules.mask_folder import MaskFolder

from syncsam_lightning.data.conversion import WorkOptions


class StopError(Exception):
    pass


def volume(path: Path, *slices: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    voxels = np.zeros((6, 7, 4), np.uint8)
    voxels[1:4, 2:5, list(slices)] = 1
    nib.save(nib.Nifti1Image(voxels, np.diag([1.0, 1, 3, 1])), path)


def picture(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((8, 9), np.uint8)
    pixels[1 : 1 + size, 1:5] = 1
    Image.fromarray(pixels).save(path)


def label_map(root: Path) -> None:
    volume(root / "masks" / "v.nii.gz", 1)


def file_of_an_object(root: Path) -> None:
    volume(root / "masks" / "v--a.nii.gz", 0)
    volume(root / "masks" / "v--b.nii.gz", 1)


def label_map_of_a_picture(root: Path) -> None:
    picture(root / "masks" / "p.png", 2)


def mask_of_a_picture(root: Path) -> None:
    picture(root / "masks" / "p--a.png", 2)


def instance_map(root: Path) -> None:
    picture(root / "masks" / "p.png", 2)


def coco_file(root: Path) -> None:
    outline(root, 2)


def outline(root: Path, size: int) -> None:
    polygon = [1, 1, 5, 1, 5, 1 + size, 1, 1 + size]
    one = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [polygon]}
    image = {"id": 1, "file_name": "p.png", "height": 8, "width": 9}
    content = {"images": [image], "annotations": [one], "categories": [{"id": 1, "name": "a"}]}
    (root / "annotations.json").write_text(json.dumps(content))


MENDED = {
    label_map: lambda root: volume(root / "masks" / "v.nii.gz", 1, 2, 3),
    file_of_an_object: lambda root: volume(root / "masks" / "v--b.nii.gz", 1, 2, 3),
    label_map_of_a_picture: lambda root: picture(root / "masks" / "p.png", 5),
    mask_of_a_picture: lambda root: picture(root / "masks" / "p--a.png", 5),
    instance_map: lambda root: picture(root / "masks" / "p.png", 5),
    coco_file: lambda root: outline(root, 5),
}
OPTIONS = {instance_map: {"instance_label": "cell"}}


@pytest.mark.promise("Resume: work on files that were mended since is done again")
@pytest.mark.parametrize("components", [False, True])
@pytest.mark.parametrize("write", MENDED)
def test_rows_are_made_of_files_as_they_are_now(tmp_path: Path, write, components: bool):
    root = tmp_path / "release"
    volume(root / "images" / "v.nii.gz", 0, 1)
    picture(root / "images" / "p.png", 3)
    write(root)

    def table(name: str, moment: str = "") -> object:
        def stop(passed: str) -> None:
            if passed == moment:
                raise StopError

        options = OPTIONS.get(write, {}) | {"image_size": 8, "components": components}
        made = MaskFolder(str(root), str(tmp_path / name), **options)
        made.prepare(WorkOptions(unit_size=1, progress=False, at=stop))
        return lance.dataset(str(made.table.path)).to_table()

    with pytest.raises(StopError):
        table("t.lance", "before commit")
    MENDED[write](root)
    assert table("t.lance") == table("fresh.lance")


def test_a_mask_file_that_is_lost_is_listed_once(tmp_path: Path):
    root = tmp_path / "release"
    volume(root / "images" / "v.nii.gz", 0, 1)
    volume(root / "masks" / "v--a.nii.gz", 1, 2, 3)
    lost = root / "masks" / "v--b.nii.gz"
    lost.write_bytes((root / "masks" / "v--a.nii.gz").read_bytes()[:60])
    made = MaskFolder(str(root), str(tmp_path / "t.lance"), image_size=8)
    # The survey of the labels meets it, and so does each unit of rows.
    report = made.prepare(WorkOptions(unit_size=1, progress=False))
    assert report is not None
    lines = (tmp_path / "t.skipped.jsonl").read_text().splitlines()
    assert sum(str(lost) in line for line in lines) == 1
    assert report.num_skipped == len(lines) == 2
