from __future__ import annotations

import subprocess
import sys
from collections import Counter
from importlib.machinery import ModuleSpec
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from nilearn.datasets import load_mni152_brain_mask, load_mni152_template
from syncsam_datamodules import mni152
from syncsam_datamodules.mni152 import BANDS, MNI152

from syncsam_lightning.errors import DatasetNotFoundError
from syncsam_lightning.records import RawSample


@pytest.fixture(scope="module")
def samples() -> list[RawSample]:
    found = list(MNI152().records(Path()))
    assert all(isinstance(item, RawSample) for item in found)
    return [item for item in found if isinstance(item, RawSample)]


WHOLE = ("mni152/z+014", "mni152/z+040")


def masks_of(sample: RawSample) -> dict[str, np.ndarray]:
    """Each class with the masks of its hemispheres together."""
    whole: dict[str, np.ndarray] = {}
    for mask in sample.masks:
        whole[mask.label] = whole.get(mask.label, False) | np.asarray(mask.mask)
    return whole


def test_the_slices_are_72_for_training_6_for_validation_and_16_for_test(
    samples: list[RawSample],
):
    assert Counter(sample.split for sample in samples) == {"train": 72, "val": 6, "test": 16}
    assert len({sample.id for sample in samples}) == 94
    assert {(sample.source, sample.modality) for sample in samples} == {("MNI152", "mr")}


def test_five_slices_lie_between_slices_of_different_bands(samples: list[RawSample]):
    heights = [int(sample.slice) for sample in samples]
    assert heights == sorted(heights)
    borders = [(a, b) for a, b in pairwise(samples) if a.case != b.case]
    assert len(borders) == len(BANDS) - 1
    for below, above in borders:
        assert int(above.slice) - int(below.slice) == 6
        assert below.split != above.split


def test_a_case_is_a_band_on_one_side_of_the_split(samples: list[RawSample]):
    sides = {(sample.case, sample.split) for sample in samples}
    assert len(sides) == len(BANDS) == len({case for case, _ in sides})
    for band in BANDS:
        heights = [int(sample.slice) for sample in samples if sample.case == band.name]
        assert heights == list(range(max(band.first, heights[0]), band.last + 1))


def test_every_slice_has_enough_brain_and_each_class_once(samples: list[RawSample]):
    for sample in samples:
        masks = masks_of(sample)
        objects = [(mask.label, mask.instance) for mask in sample.masks]
        assert len(set(objects)) == len(objects)
        assert masks["brain"].sum() >= 3000
        assert set(masks) <= {"brain", "grey matter", "white matter"}
        assert all(mask.sum() >= 100 for mask in masks.values())
        assert {mask.shape for mask in masks.values()} == {(189, 153)}


def test_the_slices_at_mid_height_have_all_three_classes(samples: list[RawSample]):
    middle = [sample for sample in samples if sample.case == "z+14..+33"]
    assert len(middle) == 20
    assert all(len(sample.masks) == 6 for sample in middle)


def test_held_out_slices_lie_between_slices_for_training():
    sides = [band.split for band in BANDS]
    assert sides[::2] == ["train"] * 4
    assert set(sides[1::2]) == {"val", "test"}


def test_hemispheres_are_disjoint_and_the_right_one_comes_first(samples: list[RawSample]):
    for sample in samples[::7]:
        right, left = (np.asarray(m.mask) for m in sample.masks if m.label == "brain")
        # x = -76..76 mm in 153 columns, from right to left; the midline is column 76.
        assert not right[:, 76:].any()
        assert not left[:, :76].any()
        # The template is symmetric, so the two are mirror images but for the midline.
        np.testing.assert_array_equal(right[:, :76], left[:, :76:-1])


def test_without_hemispheres_a_class_is_one_mask(samples: list[RawSample]):
    whole = [item for item in MNI152(hemispheres=False).records(Path()) if item.id in WHOLE]
    for sample in whole:
        parts = masks_of(next(item for item in samples if item.id == sample.id))
        assert [(mask.label, mask.instance) for mask in sample.masks] == [
            (name, 0) for name in ("brain", "grey matter", "white matter")
        ]
        for mask in sample.masks:
            np.testing.assert_array_equal(mask.mask, parts[mask.label])
    assert len(whole) == len(WHOLE)


def test_a_table_with_hemispheres_is_not_one_without(tmp_path: Path):
    assert MNI152().table_settings() != MNI152(hemispheres=False).table_settings()


def test_tissues_lie_in_the_brain_and_do_not_overlap(samples: list[RawSample]):
    for sample in samples:
        masks = masks_of(sample)
        tissues = [masks[name] for name in ("grey matter", "white matter") if name in masks]
        assert np.sum(tissues, axis=0).max() == 1 or len(tissues) == 1
        for tissue in tissues:
            assert (tissue & ~masks["brain"]).sum() < 0.02 * tissue.sum()


# Where the head lies in a plane of 233 × 197 pixels: rows from the front, columns from the right.
HEAD = slice(21, 210), slice(22, 175)


def test_what_is_cut_off_is_empty(samples: list[RawSample]):
    template = load_mni152_template(resolution=1).get_fdata()[::-1, ::-1].transpose(1, 0, 2)
    assert template[HEAD].sum() == pytest.approx(template.sum())
    seen = np.any([sample.image > 0 for sample in samples], axis=0)
    assert not seen[[0, 1, 2, 3, -4, -3, -2, -1]].any()
    assert not seen[:, [0, 1, 2, 3, -4, -3, -2, -1]].any()


def test_brain_is_what_nilearn_calls_brain_and_images_are_its_template(samples: list[RawSample]):
    brain = load_mni152_brain_mask(resolution=1).get_fdata() > 0
    template = load_mni152_template(resolution=1).get_fdata()
    for sample in samples[::20]:
        z = int(sample.slice) + 72
        assert sample.image.dtype == np.uint8
        np.testing.assert_array_equal(masks_of(sample)["brain"], brain[::-1, ::-1, z].T[HEAD])
        np.testing.assert_allclose(sample.image / 255, template[::-1, ::-1, z].T[HEAD], atol=2e-3)


def test_anterior_is_up_and_the_right_is_left(samples: list[RawSample]):
    # In MNI space x grows to the right and y to the front, in mm; voxel (0, 0) is (-98, -134).
    sample = next(item for item in samples if item.slice == "+20")
    template = np.asarray(load_mni152_template(resolution=1).dataobj)
    right_front = (30, 50, 20)
    x, y, z = (value + offset for value, offset in zip(right_front, (98, 134, 72), strict=True))
    row, column = 232 - y - HEAD[0].start, 196 - x - HEAD[1].start
    assert row < sample.image.shape[0] / 2
    assert column < sample.image.shape[1] / 2
    assert sample.image[row, column] == round(float(template[x, y, z]) * 255)


def test_no_root_is_needed(tmp_path: Path):
    datamodule = MNI152(table=str(tmp_path / "mni.lance"), num_workers=0)
    datamodule.prepare_data()
    datamodule.setup()
    assert [datamodule.num_rows(split) for split in ("train", "val", "test")] == [72, 6, 16]
    assert (tmp_path / "mni.skipped.jsonl").read_text() == ""


def test_importing_the_plugin_does_not_import_nilearn():
    code = "import sys, syncsam_datamodules.mni152; sys.exit('nilearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_nilearn_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(mni152, "find_spec", lambda name: None)
    with pytest.raises(DatasetNotFoundError, match="pip install nilearn"):
        list(MNI152().records(Path()))


def test_a_nilearn_without_the_volumes_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    spec = ModuleSpec("nilearn", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(mni152, "find_spec", lambda name: spec)
    with pytest.raises(DatasetNotFoundError, match=r"mni_icbm152_t1_.* is not there"):
        list(MNI152().records(Path()))
