from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from syncsam_datamodules.mask_folder import MaskFolder

from syncsam_lightning.data.readers import resolve_mask
from syncsam_lightning.errors import BrokenInputError
from syncsam_lightning.prediction.inputs import Input
from syncsam_lightning.prediction.mask_files import ObjectMask, write_image_mask
from syncsam_lightning.records import RawSample, Skipped

DISC = cv2.circle(np.zeros((64, 64), np.uint8), (32, 32), 15, 255, -1)
SOFT = cv2.GaussianBlur(DISC, (0, 0), 1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    Image.new("RGB", (64, 64), (10, 20, 30)).save(tmp_path / "images" / "a.png")
    return tmp_path


def records(root: Path, **options: Any) -> tuple[list[RawSample], list[Skipped]]:
    found = list(MaskFolder(**options).records(root))
    samples = [item for item in found if isinstance(item, RawSample)]
    return samples, [item for item in found if isinstance(item, Skipped)]


def drawn(root: Path, **options: Any) -> dict[str, np.ndarray]:
    (sample,), skipped = records(root, **options)
    assert skipped == []
    return {mask.label: resolve_mask(mask.mask, mask.path) for mask in sample.masks}


def test_a_mask_with_soft_edges_is_refused_with_the_remedy(root: Path):
    path = root / "masks" / "a.png"
    Image.fromarray(SOFT).save(path)
    (sample,), (skipped,) = records(root)
    assert sample.masks == ()
    assert skipped.path == str(path)
    assert "soft edges" in skipped.reason
    assert "mask_threshold" in skipped.reason


def test_so_is_one_that_its_name_says_to_be_of_one_object(root: Path):
    Image.fromarray(SOFT).save(root / "masks" / "a--cut.png")
    (sample,), _ = records(root)
    with pytest.raises(BrokenInputError, match=r"soft edges.*mask_threshold"):
        resolve_mask(sample.masks[0].mask, "")


@pytest.mark.parametrize(
    ("name", "label"), [("a.png", "object"), ("a--cut.png", "cut"), ("a.jpg", "object")]
)
def test_a_threshold_makes_one_object_of_each_file(root: Path, name: str, label: str):
    Image.fromarray(SOFT).save(root / "masks" / name)
    masks = drawn(root, mask_threshold=128)
    assert list(masks) == [label]
    np.testing.assert_array_equal(masks[label], SOFT >= 128)


def test_a_threshold_is_a_setting_of_the_table():
    assert MaskFolder(mask_threshold=0.5).table_settings()["mask_threshold"] == 0.5


def test_a_probability_map_takes_a_threshold_below_1(root: Path):
    tifffile.imwrite(root / "masks" / "a.tif", SOFT / np.float32(255))
    _, (skipped,) = records(root)
    assert "set mask_threshold" in skipped.reason
    np.testing.assert_array_equal(drawn(root, mask_threshold=0.5)["object"], SOFT >= 128)


@pytest.mark.parametrize("names", [("a.png", "a.tif"), ("a--cut.png", "a--cut.tif")])
def test_of_two_files_for_the_same_objects_the_second_is_told(root: Path, names: tuple[str, str]):
    for name in names:
        Image.fromarray(DISC).save(root / "masks" / name)
    (sample,), (skipped,) = records(root)
    assert len(sample.masks) == 1
    assert skipped == Skipped(
        str(root / "masks" / names[1]),
        f"stands for the same objects as {names[0]}, which is used",
    )


def test_the_two_ways_to_name_one_object_are_the_same_object(root: Path):
    (root / "masks" / "a").mkdir()
    for name in ("a--cut--2.png", "a/cut--2.png", "a/cut.png"):
        Image.fromarray(DISC).save(root / "masks" / name)
    (sample,), (skipped,) = records(root)
    assert sorted((mask.label, mask.instance) for mask in sample.masks) == [("cut", 0), ("cut", 2)]
    assert "stands for the same objects as" in skipped.reason


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint16, np.uint32, np.int64, np.float64])
def test_labels_of_every_number_type_count_as_stored(root: Path, dtype: type):
    labels = (DISC > 0).astype(dtype)
    tifffile.imwrite(root / "masks" / "a.tif", labels)
    np.testing.assert_array_equal(drawn(root)["class_1"], DISC > 0)


def test_a_large_unsigned_label_keeps_its_value(root: Path):
    tifffile.imwrite(root / "masks" / "a.tif", (DISC > 0).astype(np.uint32) * np.uint32(3 << 30))
    assert list(drawn(root)) == [f"class_{3 << 30}"]


def test_a_label_map_that_shows_0_as_white_counts_as_stored(root: Path):
    labels = (DISC > 0).astype(np.uint8)
    labels[:2] = 2
    tifffile.imwrite(root / "masks" / "a.tif", labels, photometric="miniswhite")
    masks = drawn(root)
    assert sorted(masks) == ["class_1", "class_2"]
    np.testing.assert_array_equal(masks["class_1"], labels == 1)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_labels_of_few_bits_count_as_stored(root: Path, bits: int):
    write_grey_png(root / "masks" / "a.png", (DISC > 0).astype(np.uint8), bits)
    np.testing.assert_array_equal(drawn(root)["class_1"], DISC > 0)


def write_grey_png(path: Path, values: np.ndarray, bits: int) -> None:
    """Write what Pillow can't: grey of 1, 2 or 4 bits (PNG, sections 5.3 and 11.2)."""
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    height, width = values.shape
    planes = np.unpackbits(values[..., None], axis=2)[..., 8 - bits :]
    rows = np.packbits(planes.reshape(height, -1), axis=1)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("white", [(255, 255, 255), (0, 0, 0)])
def test_a_mask_in_the_alpha_channel_is_found(root: Path, white: tuple[int, int, int]):
    rgba = np.dstack([np.full((64, 64, 3), white, np.uint8), DISC])
    Image.fromarray(rgba).save(root / "masks" / "a.png")
    np.testing.assert_array_equal(drawn(root)["object"], DISC > 0)


def test_a_colour_on_nothing_is_found_by_its_alpha_channel(root: Path):
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[DISC > 0] = 255, 0, 0, 255
    Image.fromarray(rgba).save(root / "masks" / "a.png")
    np.testing.assert_array_equal(drawn(root)["object"], DISC > 0)


def test_a_label_map_may_be_transparent_where_it_has_no_label(root: Path):
    labels = (DISC > 0).astype(np.uint8)
    labels[:2] = 2
    alpha = (labels > 0).astype(np.uint8) * np.uint8(255)
    Image.fromarray(np.dstack([labels, alpha]), "LA").save(root / "masks" / "a.png")
    assert sorted(drawn(root)) == ["class_1", "class_2"]


def test_an_alpha_channel_without_a_shape_says_nothing(root: Path):
    grey = np.dstack([DISC] * 3 + [np.full_like(DISC, 255)])
    Image.fromarray(grey).save(root / "masks" / "a.png")
    np.testing.assert_array_equal(drawn(root)["object"], DISC > 0)


def test_colours_and_alpha_that_disagree_are_refused(root: Path):
    grey = np.full((64, 64), 255, np.uint8)
    grey[DISC > 0] = 90
    grey[:3, :3] = 200
    alpha = np.where(grey == 255, 0, 255).astype(np.uint8)
    Image.fromarray(np.dstack([grey, alpha]), "LA").save(root / "masks" / "a.png")
    _, (skipped,) = records(root)
    assert "alpha channel" in skipped.reason


def test_a_mask_in_printers_colours_is_refused(root: Path):
    Image.fromarray(np.dstack([DISC] * 4), "CMYK").save(root / "masks" / "a.tif")
    _, (skipped,) = records(root)
    assert "CMYK" in skipped.reason


def test_a_palette_that_shows_the_background_as_white_is_refused(root: Path):
    palette = Image.fromarray((DISC == 0).astype(np.uint8), mode="P")
    palette.putpalette([255, 255, 255, 0, 0, 0])
    palette.save(root / "masks" / "a.png")
    _, (skipped,) = records(root)
    assert "palette" in skipped.reason


LABELS = ["left kidney", "肝脏", "a--2", "2", "-x-", "a/b", "50%", "größer", "Ne\u0301phron"]


def test_labels_that_predict_writes_come_back_as_they_went(root: Path):
    source = Input("a.png", "image", (root / "images" / "a.png",), root / "images" / "a.png")
    objects = [ObjectMask(label, n, DISC > 0) for label in LABELS for n in (1, 2)]
    for one in objects:
        write_image_mask(root / "masks", source, one)
    (sample,), skipped = records(root)
    assert skipped == []
    expected = [(unicodedata.normalize("NFC", label), n) for label in LABELS for n in (0, 2)]
    assert sorted((mask.label, mask.instance) for mask in sample.masks) == sorted(expected)


def test_an_image_and_its_masks_may_hold_an_accent_in_different_forms(root: Path):
    Image.new("RGB", (64, 64)).save(root / "images" / "caf\u00e9.png")
    (root / "masks" / "cafe\u0301").mkdir()
    Image.fromarray(DISC).save(root / "masks" / "a.png")
    Image.fromarray(DISC).save(root / "masks" / "cafe\u0301--cut.png")
    Image.fromarray(DISC).save(root / "masks" / "cafe\u0301" / "burn.png")
    samples, skipped = records(root)
    assert skipped == []
    assert {mask.label for mask in samples[1].masks} == {"cut", "burn"}


def test_a_name_that_is_no_text_is_told(root: Path):
    name = os.fsdecode(b"a--\xff.png")
    Image.fromarray(DISC).save(root / "masks" / "x.png")
    (root / "masks" / "x.png").rename(root / "masks" / name)
    _, (skipped, _) = records(root)
    assert skipped.reason == "its name is not UTF-8"
