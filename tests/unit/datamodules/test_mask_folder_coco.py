"""COCO files of one's own: where they lie, what they draw, and what of them is listed."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as tools
from pycocotools.coco import COCO
from syncsam_datamodules.mask_folder import MaskFolder
from syncsam_datamodules.mask_folder.outlines import OutlinedMask, Runs

from syncsam_lightning.data.readers import resolve_mask
from syncsam_lightning.errors import (
    NAMED_BUT_MISSING,
    BrokenInputError,
)
from syncsam_lightning.records import RawSample, Skipped
from tests.coco_files import (
    HEIGHT,
    SQUARE,
    WIDTH,
    annotation,
    compressed,
    content,
    image,
    mask_of,
    picture,
    root_with,
    runs,
)


def records(root: Path, **options: Any) -> tuple[list[RawSample], list[Skipped]]:
    found = list(MaskFolder(**options).records(root))
    samples = [item for item in found if isinstance(item, RawSample)]
    return samples, [item for item in found if isinstance(item, Skipped)]


OUTLINES = {
    "polygon": [SQUARE],
    "fractions": [[3.25, 1.5, 20.75, 2.125, 11.3, 19.9, 5.01, 15.5]],
    "several polygons": [SQUARE, [20.2, 2, 28, 2, 28, 9.7], [5, 12, 9, 20, 5, 20]],
    "overlapping polygons": [SQUARE, [8, 8, 16, 8, 16, 15, 8, 15]],
    "partly outside": [[-10.5, -4, 9, -4, 9, 40.25, -10.5, 40.25]],
    "over all corners": [[-500, -500, 500, -500, 500, 500, -500, 500]],
    "bow tie": [[2, 2, 20, 20, 20, 2, 2, 20]],
    "thin": [[2, 2, 25, 2.4, 25, 2.6]],
    "runs": {"size": [HEIGHT, WIDTH], "counts": runs(mask_of(0))},
    "runs from the first pixel": {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * WIDTH]},
    "runs with empty ones": {
        "size": [HEIGHT, WIDTH],
        "counts": [3, 4, 0, 2, 5, 0, 6, 1, HEIGHT * WIDTH - 21],
    },
    "compressed": compressed(mask_of(1)),
    "compressed, whole": compressed(np.ones((HEIGHT, WIDTH), bool)),
    "compressed, one pixel": compressed(np.eye(HEIGHT, WIDTH) > np.arange(WIDTH)),
}


def test_masks_are_those_of_pycocotools_to_the_pixel(tmp_path: Path):
    coco = content(*(annotation(n, copy.deepcopy(o)) for n, o in enumerate(OUTLINES.values(), 1)))
    root_with(tmp_path, coco)
    theirs = COCO(str(tmp_path / "annotations.json"))
    (sample,), skipped = records(tmp_path)
    assert skipped == []
    assert [mask.label for mask in sample.masks] == ["polyp"] * len(OUTLINES)
    assert [mask.instance for mask in sample.masks] == list(range(len(OUTLINES)))
    for mask, number, name in zip(sample.masks, theirs.anns, OUTLINES, strict=True):
        expected = theirs.annToMask(theirs.anns[number]) != 0
        assert expected.any(), name
        np.testing.assert_array_equal(resolve_mask(mask.mask, mask.path), expected, err_msg=name)


def test_random_polygons_and_runs_are_those_of_pycocotools(tmp_path: Path):
    rng = np.random.default_rng(5)
    outlines: list[Any] = []
    for _ in range(150):
        corners = rng.uniform(-8, 40, (rng.integers(1, 4), 2 * rng.integers(3, 9)))
        outlines.append(np.round(corners, rng.integers(0, 4)).tolist())
        mask = np.asfortranarray(rng.random((HEIGHT, WIDTH)) < rng.random())
        outlines += [compressed(mask), {"size": [HEIGHT, WIDTH], "counts": runs(mask)}]
    root_with(tmp_path, content(*(annotation(n, o) for n, o in enumerate(outlines, 1))))
    theirs = COCO(str(tmp_path / "annotations.json"))
    (sample,), _ = records(tmp_path)
    assert len(sample.masks) == len(outlines)
    for mask, one in zip(sample.masks, theirs.anns.values(), strict=True):
        expected = theirs.annToMask(one) != 0
        np.testing.assert_array_equal(resolve_mask(mask.mask, mask.path), expected)


def test_whole_numbers_may_be_written_with_a_point(tmp_path: Path):
    mask = mask_of(0)
    outline = compressed(mask) | {"size": [float(HEIGHT), float(WIDTH)]}
    coco = content(
        annotation(1.0, outline, image_id=1.0, category_id=3.0),
        images=[image(1, height=float(HEIGHT), width=float(WIDTH))],
    )
    (sample,), skipped = records(root_with(tmp_path, coco))
    assert skipped == []
    np.testing.assert_array_equal(resolve_mask(sample.masks[0].mask, ""), mask)


@settings(deadline=None, max_examples=300)
@given(st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=30), st.booleans())
def test_a_text_is_refused_or_means_what_pycocotools_reads(text: str, is_whole: bool):
    if is_whole:  # one that adds up
        mask = np.random.default_rng(len(text)).random((HEIGHT, WIDTH)) < len(text) / 30
        text = compressed(mask)["counts"]
    size = [HEIGHT, WIDTH]
    try:
        outline = Runs.of({"size": size, "counts": text}, "x")
        found = OutlinedMask(outline, HEIGHT, WIDTH, "x")().whole()
    except BrokenInputError:
        assert not is_whole
        return
    np.testing.assert_array_equal(found, tools.decode({"size": size, "counts": text.encode()}))


WRONG = {
    "crowd": (annotation(1, OUTLINES["runs"], iscrowd=1), "crowd", "no object; CVAT says so"),
    "a box": (annotation(1, None), "no segmentation", "has no segmentation, only a box"),
    "empty list": (annotation(1, []), "no segmentation", "has no segmentation"),
    "two points": (annotation(1, [[1, 1, 5, 5]]), "no usable outline", "three points or more"),
    "one of two": (annotation(1, [SQUARE, [1, 1]]), "no usable outline", "three points or more"),
    "odd": (annotation(1, [[*SQUARE, 1]]), "no usable outline", "three points or more"),
    "flat": (annotation(1, SQUARE), "no usable outline", "three points or more"),
    "words": (annotation(1, [["a"] * 6]), "no usable outline", "holds no numbers"),
    "NaN": (annotation(1, [[float("nan"), *SQUARE[1:]]]), "no usable outline", "holds NaN"),
    "far": (annotation(1, [[0, 0, 1e9, 0, 1e9, 9]]), "no usable outline", "2,000,000 pixels"),
    "huge": (annotation(1, [[0, 0, 10**400, 0, 1, 9]]), "no usable outline", "holds no numbers"),
    "outside": (annotation(1, [[90, 90, 99, 90, 99, 99]]), "empty mask", "empty mask"),
    "size": (
        annotation(1, {"size": [WIDTH, HEIGHT], "counts": runs(mask_of(0))}),
        "shape mismatch",
        "its runs are of 31x23 pixels, its image is said to have 23x31",
    ),
    "huge size": (annotation(1, {"size": [10**9, 10**9], "counts": "01"}), "shape mismatch", "is"),
    "sizes": (annotation(1, {"size": [1], "counts": "01"}), "no usable outline", "size is not"),
    "sum": (annotation(1, {"size": [HEIGHT, WIDTH], "counts": [3, 5]}), "no usable outline", "8 p"),
    "none": (annotation(1, {"size": [HEIGHT, WIDTH], "counts": []}), "no usable outline", "to 0"),
    "negative": (annotation(1, {"size": [HEIGHT, WIDTH], "counts": [-3, 716]}), "no usable outline",
                 "neither run lengths nor"),
    "open": (annotation(1, {"size": [HEIGHT, WIDTH], "counts": "oo"}), "no usable outline",
             "end within a run"),
    "long": (annotation(1, {"size": [HEIGHT, WIDTH], "counts": "o" * 9 + "0"}),
             "no usable outline", "more than 32 bits"),
    "text": (annotation(1, {"size": [HEIGHT, WIDTH], "counts": "0é ~"}), "no usable outline",
             "a character that is no run"),
    "minus": (annotation(1, {"size": [HEIGHT, WIDTH], "counts": "O1"}), "no usable outline",
              "a negative run"),
    "category": (annotation(1, [SQUARE], category_id=9), "unknown category", "category_id 9"),
    "image": (annotation(1, [SQUARE], image_id=9), "unknown image", "image_id 9"),
    "no image": (annotation(1, [SQUARE], image_id=None), "unusable entry", "image_id is None"),
    "no object": (7, "unusable entry", "is no object"),
    "twice": (annotation(2, [SQUARE]), "duplicate id", "has the id of another"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_an_annotation_that_is_no_object_is_listed_and_others_stay(tmp_path, convert, case):
    wrong, kind, reason = WRONG[case]
    root_with(tmp_path, content(annotation(2, [SQUARE]), wrong))
    converted = convert(MaskFolder, tmp_path, test_fraction=1)
    assert converted.labels == {"a": ["polyp"]}
    (line,) = converted.skipped
    assert line["kind"] == kind
    assert reason in line["reason"]
    assert "annotations.json[" in line["path"]


IMAGES = {
    "missing": (image(2, "b.png"), NAMED_BUT_MISSING, "names it, but there is no such file"),
    "up": (image(2, "../a.png"), "path leaves the folder", "not a path inside"),
    "root": (image(2, "/etc/a.png"), "path leaves the folder", "not a path inside"),
    "backslash": (image(2, "x\\a.png"), "path leaves the folder", "not a path inside"),
    "nul": (image(2, "a\0.png"), "path leaves the folder", "not a path inside"),
    "no name": (image(2, ""), "unusable image", "is no name of a file"),
    "surrogate": (image(2, "\ud800.png"), "unusable image", "is no name of a file"),
    "number": (image(2, 5), "unusable image", "is no name of a file"),
    "long": (image(2, "x" * 5000 + ".png"), NAMED_BUT_MISSING, "there is no such file"),
    "twice": (image(2, "a.png"), "image named twice", "is that of image 1, too"),
    "id": (image(1, "a.png"), "duplicate id", "has the id 1 of another"),
    "sizes": (image(2, "a.png", height="x"), "unusable image", "no numbers of pixels"),
    "huge": (image(2, "a.png", width=10**9), "unusable image", "over the limit of"),
    "volume": (image(2, "a.nii.gz"), "unusable image", "does not end with one of"),
}


@pytest.mark.parametrize("case", IMAGES)
def test_an_image_that_cannot_be_used_is_listed_and_others_stay(tmp_path: Path, case: str):
    wrong, kind, reason = IMAGES[case]
    root_with(tmp_path, content(annotation(1, [SQUARE]), images=[image(), wrong]))
    (sample,), (skip,) = records(tmp_path)
    assert (sample.id, len(sample.masks), skip.kind) == ("a", 1, kind)
    assert reason in skip.reason


def test_an_image_without_annotations_is_listed(tmp_path: Path, convert):
    picture(tmp_path / "images" / "b.png")
    coco = content(annotation(1, [SQUARE]), images=[image(), image(2, "b.png")])
    assert convert(MaskFolder, root_with(tmp_path, coco), test_fraction=1).kinds() == [
        "image without masks"
    ]


@pytest.mark.parametrize("upright", [True, False])
def test_sizes_are_those_of_the_upright_image(tmp_path: Path, convert, upright: bool):
    # As viewers show it; who wrote the size as stored drew on another image.
    height, width = (WIDTH, HEIGHT) if upright else (HEIGHT, WIDTH)
    coco = content(
        annotation(1, [[1, 1, 9, 1, 9, 20]]),
        annotation(2, [SQUARE], image_id=2),
        images=[image(1, "a.jpg", height=height, width=width), image(2, "a.png")],
    )
    root_with(tmp_path, coco)
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "images" / "b").mkdir()
    picture(tmp_path / "images" / "a.jpg", exif=exif)
    coco["images"][1]["file_name"] = "b/a.png"
    picture(tmp_path / "images" / "b" / "a.png")
    (tmp_path / "annotations.json").write_text(json.dumps(coco))
    converted = convert(MaskFolder, tmp_path, test_fraction=1)
    assert sorted(converted.images) == (["a", "b/a"] if upright else ["b/a"])
    assert converted.kinds() == ([] if upright else ["image without usable mask", "shape mismatch"])
    if not upright:
        assert "its sides are swapped" in converted.reason("shape mismatch")
