from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from syncsam_lightning.data.label_maps import LabelRule, whole_labels
from syncsam_lightning.errors import BrokenInputError

RULE = LabelRule()
SOFT = "looks like a mask with soft edges"


def disc(size: int, radius: float, x: float | None = None) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    x = size / 2 if x is None else x
    inside: np.ndarray = (columns - x) ** 2 + (rows - size / 2) ** 2 < radius**2
    return inside


DISC = disc(128, 30).astype(np.uint8) * np.uint8(255)


def jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def near_black_and_white() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 8, DISC.shape, dtype=np.uint8)
    return np.where(DISC > 0, 255 - noise, noise)


def three_classes() -> np.ndarray:
    labels = np.zeros((96, 120), np.uint8)
    labels[10:50, 10:50], labels[50:80, 60:100], labels[4:12, 70:100] = 50, 100, 150
    return labels


@pytest.mark.parametrize("rule", [cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA])
@pytest.mark.parametrize("size", [(150, 131), (74, 62), (250, 197)])
def test_shades_between_several_classes_are_no_classes(rule: int, size: tuple[int, int]):
    resized = cv2.resize(three_classes(), size, interpolation=rule)
    with pytest.raises(BrokenInputError, match=f"{SOFT}.*resized anew, by nearest neighbour"):
        RULE.values(resized, "")


SOFT_MASKS = {
    "half the size": cv2.resize(DISC, (64, 64), interpolation=cv2.INTER_AREA),
    "a quarter of the size": cv2.resize(DISC, (32, 32), interpolation=cv2.INTER_AREA),
    "bilinear": cv2.resize(DISC, (150, 150), interpolation=cv2.INTER_LINEAR),
    "bicubic": cv2.resize(DISC, (150, 150), interpolation=cv2.INTER_CUBIC),
    "blurred": cv2.GaussianBlur(DISC, (0, 0), 1),
    "much blurred": cv2.GaussianBlur(DISC, (0, 0), 3),
    "half as bright": cv2.GaussianBlur(DISC // 2, (0, 0), 1),
    "16 bits": cv2.resize(DISC.astype(np.uint16) * 257, (64, 64), interpolation=cv2.INTER_AREA),
    "near black and white": near_black_and_white(),
    "JPEG 50": jpeg(DISC, 50),
    "JPEG 95": jpeg(DISC, 95),
    "JPEG 100": jpeg(DISC, 100),
}


@pytest.mark.parametrize("name", SOFT_MASKS)
def test_shades_of_an_edge_are_no_classes(name: str):
    with pytest.raises(BrokenInputError, match=f"{SOFT}.*mask_threshold.*label_names") as caught:
        RULE.values(SOFT_MASKS[name], "a.png")
    assert (caught.value.path, caught.value.kind) == ("a.png", "soft edges")
    with pytest.raises(BrokenInputError, match=SOFT):
        RULE.only_value(SOFT_MASKS[name], "a.png")


@pytest.mark.parametrize("name", SOFT_MASKS)
def test_a_threshold_makes_one_object_of_them(name: str):
    values = SOFT_MASKS[name]
    rule = LabelRule(threshold=int(values.max()) // 2 + 1)
    labels = rule.labels(values, "a.png")
    assert (labels.dtype, rule.values(labels, "a.png"), rule.name(255)) == (
        np.uint8,
        [255],
        "object",
    )
    share = (DISC > 0).mean()
    assert (labels > 0).mean() == pytest.approx(share, rel=0.05)


def rings(width: int) -> np.ndarray:
    labels = disc(128, 30 + width).astype(np.uint8) * np.uint8(128)
    labels[DISC > 0] = 255
    return labels


def void_borders() -> np.ndarray:
    labels = disc(128, 30).astype(np.uint8) * np.uint8(15)
    labels[disc(128, 12, 20)] = 7
    border = cv2.morphologyEx((labels > 0).astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((5, 5)))
    labels[border > 0] = 255
    return labels


def instances() -> np.ndarray:
    rng = np.random.default_rng(0)
    labels = np.zeros((256, 256), np.uint8)
    for number, value in enumerate(rng.choice(np.arange(1, 256), 60, replace=False)):
        row, column = divmod(number, 8)
        cv2.circle(labels, (16 + 32 * column, 16 + 32 * row), 9, int(value), -1)
    return labels


def thin_lines() -> np.ndarray:
    labels = np.zeros((128, 128), np.uint8)
    labels[::10], labels[:, ::17] = 1, 2
    labels[DISC > 0] = 255
    return labels


def tissue() -> np.ndarray:
    """Cells that touch each other, numbered at random."""
    rng = np.random.default_rng(0)
    seeds = rng.integers(0, 128, (100, 1, 1, 2))
    grid = np.stack(np.mgrid[:128, :128], axis=-1)
    nearest = ((grid - seeds) ** 2).sum(-1).argmin(0)
    return rng.permutation(np.arange(1, 101, dtype=np.uint8))[nearest]


def layers(width: int) -> np.ndarray:
    """Layers of a retina, each brighter than the one above it."""
    return np.repeat(np.arange(13, dtype=np.uint8), width)[:, None] * np.ones(100, np.uint8)


@pytest.mark.parametrize(
    "labels",
    [
        tissue(),
        np.kron(tissue()[::4, ::4], np.ones((2, 2), np.uint8)),
        layers(3),
        instances()[::4, ::4],
        *(rings(width) for width in (2, 3, 10)),
        void_borders(),
        instances(),
        thin_lines(),
        np.array([[0, 85, 85, 170, 170, 255]], np.uint8),
        np.array([[0, 1, 1, 2, 2, 3, 3]], np.uint8),
    ],
)
def test_classes_with_an_inside_are_classes(labels: np.ndarray):
    assert RULE.values(labels, "") == sorted(set(labels.ravel().tolist()) - {0})


def test_values_that_all_have_names_are_classes_whatever_they_look_like():
    labels = SOFT_MASKS["half the size"]
    values = sorted(set(labels.ravel().tolist()) - {0})
    named = {value: f"shade {value}" for value in values}
    assert LabelRule(named).values(labels, "") == values
    del named[255]
    with pytest.raises(BrokenInputError, match=SOFT):
        LabelRule(named).values(labels, "")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_labels_that_went_through_a_scale_factor_are_whole(dtype: type):
    stored = np.arange(200, dtype=dtype)
    scaled = stored * dtype(1 / 255) * dtype(255) if dtype != np.float16 else stored
    labels = whole_labels(scaled, "")
    assert labels.dtype.kind == "i"
    assert labels.tolist() == list(range(200))
    assert whole_labels(np.array([0.9999999, 2.0000002]), "").tolist() == [1, 2]


@pytest.mark.parametrize("value", [0.5, 0.99, 1.01, 254.9])
def test_what_lies_further_off_is_no_label(value: float):
    with pytest.raises(BrokenInputError, match=rf"it holds {value}, .*set mask_threshold"):
        whole_labels(np.array([0, value, 1]), "a.nii")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("rule", [RULE, LabelRule(threshold=0.5)])
def test_what_is_not_finite_is_no_label(value: float, rule: LabelRule):
    with pytest.raises(BrokenInputError, match="not finite"):
        rule.labels(np.array([0, value]), "a.nii")


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint32, np.uint64, np.int64])
def test_integers_stay_as_they_are(dtype: type):
    labels = np.array([0, np.iinfo(dtype).max], dtype)
    np.testing.assert_array_equal(whole_labels(labels, ""), labels)
    assert RULE.values(labels, "") == [np.iinfo(dtype).max]


def test_values_below_0_are_told():
    with pytest.raises(BrokenInputError, match="it holds -1, which is below 0"):
        RULE.values(np.array([-1, 0, 1]), "a.nii")
