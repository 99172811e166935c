"""Rules about known defects."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import sparse
from syncsam_datamodules.imed361m import IMed361M
from syncsam_datamodules.imed361m.rules import RULES, SORTED_CHANNELS, TURNED_90, TURNED_180, Rules

from syncsam_lightning.data.readers import resolve_image, resolve_mask
from syncsam_lightning.records import RawSample

SHARED = Path(__file__).parents[5] / "shared" / "data" / "imed361m"
HEIGHT, WIDTH = 4, 6


def write_release(root: Path, name: str) -> None:
    """Write a data set with one image, whose first row and first mask are known."""
    folder = root / name
    for kind in ("image", "label", "imask"):
        (folder / kind).mkdir(parents=True)
    pixels = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH)
    Image.fromarray(pixels).save(folder / "image" / "a_1.png")
    dense = np.zeros((2, HEIGHT, WIDTH), np.int32)
    dense[0, 0, :3] = 1
    dense[1, 3, 5] = 1
    label = f"label/x___a_1.(2, {HEIGHT}, {WIDTH}, 1).npz"
    with (folder / label).open("wb") as file:
        sparse.save_npz(file, sparse.csr_matrix(dense.reshape(2, -1)))
    regions = np.full((HEIGHT, WIDTH, 1), -1, np.int64)
    regions[:3, :3] = 300
    np.save(folder / "imask" / "x___a_1.npy", regions)
    entry = {"image": "image/a_1.png", "label": label, "imask": "imask/x___a_1.npy"}
    content = {
        "modality": {"0": "ct"},
        "labels": {"0": "background", "1": "zygoma", "2": "aorta"},
        "training": [entry],
        "test": [],
    }
    (folder / "dataset.json").write_text(json.dumps(content))


def read(tmp_path: Path, name: str, rules: dict[str, bool] | None) -> RawSample:
    write_release(tmp_path, name)
    (sample,) = IMed361M(rules=rules, pseudo_masks=True).records(tmp_path)
    assert isinstance(sample, RawSample)
    return sample


def pixels(sample: RawSample) -> np.ndarray:
    return resolve_image(sample.image, sample.path)[..., 0]


def masks(sample: RawSample) -> list[np.ndarray]:
    return [resolve_mask(mask.mask, mask.path) for mask in sample.masks]


@pytest.mark.parametrize(
    ("name", "top_left", "shape"),
    [("BTCV", [23, 22], (4, 6)), ("KiTS", [18, 12], (6, 4)), ("ACDC", [0, 1], (4, 6))],
)
def test_orientation_turns_image_and_masks_alike(
    tmp_path: Path, name: str, top_left: list[int], shape: tuple[int, int]
):
    plain = read(tmp_path / "plain", name, None)
    turned = read(tmp_path / "turned", name, {"orientation": True})
    assert pixels(turned).shape == shape
    assert pixels(turned)[0, :2].tolist() == top_left
    assert len(masks(turned)) == 3
    for before, after in zip(masks(plain), masks(turned), strict=True):
        assert after.shape == shape
        # A mask still lies on the pixels that it lay on.
        assert sorted(pixels(turned)[after]) == sorted(pixels(plain)[before])


def test_a_quarter_turn_is_clockwise(tmp_path: Path):
    sample = read(tmp_path, "KiTS", {"orientation": True})
    # The first row becomes the last column.
    assert pixels(sample)[:, -1].tolist() == [0, 1, 2, 3, 4, 5]


def test_nothing_is_turned_by_default(tmp_path: Path):
    assert pixels(read(tmp_path, "BTCV", None))[0, :2].tolist() == [0, 1]
    assert set(Rules().switches.values()) == {False}


def centre(sample: RawSample, label: str) -> np.ndarray:
    """Return the mean row and column of a mask."""
    (found,) = (mask for mask in sample.masks if mask.label == label)
    return np.argwhere(resolve_mask(found.mask, found.path)).mean(axis=0)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the sample data are not beside the repository")
@pytest.mark.parametrize("turned", [False, True])
def test_on_the_sample_a_turn_puts_the_back_down_and_the_liver_to_the_right(turned: bool):
    sample = next(IMed361M(rules={"orientation": turned}).records(SHARED))
    assert isinstance(sample, RawSample)
    kidney, stomach, liver = (centre(sample, f) for f in ("kidney_left", "stomach", "liver"))
    # Kidneys lie at the back. As released the back is up and the liver on the left.
    assert (kidney[0] > stomach[0]) == turned
    assert (liver[1] > stomach[1]) == turned


@pytest.mark.parametrize(
    ("name", "switch", "labels"),
    [
        ("Totalsegmentator_dataset", True, ["aorta", "zygoma", "pseudo"]),
        ("Totalsegmentator_dataset", False, ["zygoma", "aorta", "pseudo"]),
        ("BTCV", True, ["zygoma", "aorta", "pseudo"]),
    ],
)
def test_channel_order_sorts_the_names_of_one_data_set(
    tmp_path: Path, name: str, switch: bool, labels: list[str]
):
    sample = read(tmp_path, name, {"channel_order": switch})
    assert [mask.label for mask in sample.masks] == labels


def test_a_rule_that_is_not_there_is_told():
    with pytest.raises(ValueError, match="no rule 'orient'; there are orientation, channel_order"):
        IMed361M(rules={"orient": True})


@pytest.mark.parametrize("given", [None, {}, {"orientation": True}])
def test_the_rules_that_are_on_are_among_the_settings_of_the_table(given: Any):
    assert IMed361M(rules=given).table_settings()["rules"] == {
        "orientation": bool(given),
        "channel_order": False,
    }


def test_every_rule_says_what_it_does_and_who_reported_it():
    assert all(rule.does and rule.known_from for rule in RULES.values())
    assert not TURNED_90 & TURNED_180
    assert len(TURNED_90) + len(TURNED_180) == 24


@pytest.mark.parametrize("mu", ["\u03bc", "\u00b5"])
def test_a_data_set_is_known_by_either_sign_for_mu(mu: str):
    rules = Rules({"orientation": True})
    assert rules.quarter_turns(f"{mu}-RegPro_us") == 2


def test_names_of_data_sets_are_kept_in_the_form_that_they_are_compared_in():
    names = TURNED_180 | TURNED_90 | SORTED_CHANNELS
    assert {unicodedata.normalize("NFKC", name) for name in names} == names
