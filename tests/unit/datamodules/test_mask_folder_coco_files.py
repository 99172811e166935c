"""Where COCO files of one's own lie, which one counts, and what options mean for them."""

from __future__ import annotations

import json
import shutil
import sys
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image
from syncsam_datamodules.mask_folder import MaskFolder

from syncsam_lightning.data.readers import resolve_mask
from syncsam_lightning.errors import (
    BrokenInputError,
    ConversionError,
    DatasetNotFoundError,
    MissingPackageError,
    TableError,
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
)


def records(root: Path, **options: Any) -> tuple[list[RawSample], list[Skipped]]:
    found = list(MaskFolder(**options).records(root))
    samples = [item for item in found if isinstance(item, RawSample)]
    return samples, [item for item in found if isinstance(item, Skipped)]


def split_layouts(root: Path) -> dict[str, dict[str, str]]:
    """Return, by layout, which image lies where and which file says so."""
    return {
        "one folder": {s: f"annotations/instances_{s}.json images/{s}.png" for s in SPLITS},
        "images by split": {s: f"annotations/{s}.json images/{s}/{s}.png" for s in SPLITS},
        "folders by split": {s: f"annotations/my_{s}.json {s}/{s}.png" for s in SPLITS},
        "as COCO": {s: f"annotations/instances_{s}2017.json {s}2017/{s}.png" for s in SPLITS},
        "Roboflow": {
            s: f"{f}/_annotations.coco.json {f}/{s}.png"
            for s, f in (("train", "train"), ("val", "valid"), ("test", "test"))
        },
    }


SPLITS = ("train", "val", "test")


@pytest.mark.parametrize("layout", split_layouts(Path()))
def test_splits_are_those_of_the_files(tmp_path: Path, layout: str):
    for split, places in split_layouts(tmp_path)[layout].items():
        file, path = places.split()
        picture(tmp_path / path)
        coco = content(annotation(1, [SQUARE]), images=[image(1, f"{split}.png")])
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(json.dumps(coco))
    if layout == "as COCO":
        (tmp_path / "annotations" / "captions_train2017.json").write_text("[]")
    samples, skipped = records(tmp_path)
    assert skipped == []
    assert {sample.split: sample.id for sample in samples} == {s: f"{s}/{s}" for s in SPLITS}


@pytest.mark.parametrize("name", ["annotations.json", "_annotations.coco.json"])
def test_one_file_has_no_split(tmp_path: Path, name: str):
    (sample,), _ = records(root_with(tmp_path, content(annotation(1, [SQUARE])), name))
    assert (sample.split, sample.case, sample.source) == (None, "a", tmp_path.name)


def test_images_of_cvat_lie_in_a_folder_called_as_the_file(tmp_path: Path):
    picture(tmp_path / "images/default/day 1/b.png")
    coco = content(annotation(1, [SQUARE]), images=[image(1, "day 1/b.png")])
    (sample,), skipped = records(root_with(tmp_path, coco, "annotations/instances_default.json"))
    assert (sample.split, sample.id, skipped) == (None, "day 1/b", [])


@pytest.mark.parametrize(("said", "called"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_letters_with_accents_may_be_written_in_either_form(
    tmp_path: Path, said: Literal["NFC", "NFD"], called: Literal["NFC", "NFD"]
):
    picture(tmp_path / "images" / unicodedata.normalize(called, "Größe.png"))
    images = [image(1, unicodedata.normalize(said, "Größe.png"))]
    (sample,), skipped = records(
        root_with(tmp_path, content(annotation(1, [SQUARE]), images=images))
    )
    assert (len(sample.masks), skipped) == (1, [])


def test_options_say_what_they_say_for_masks(tmp_path: Path):
    picture(tmp_path / "p1" / "x_a.png")
    coco = content(
        annotation(1, [SQUARE]),
        annotation(2, [[20, 2, 28, 2, 28, 9], [1, 15, 5, 15, 5, 20]], category_id=5),
        images=[image(1, "p1/x_a.png")],
    )
    root_with(tmp_path, coco, "export/labels.json")
    options = {"annotations": "export/labels.json", "modality": "photo", "source": "S"}
    (sample,), _ = records(tmp_path, case_pattern="^p[0-9]", label_names={3: "scar"}, **options)
    assert (sample.id, sample.case, sample.modality, sample.source) == (
        "p1/x_a", "p1", "photo", "S",
    )  # fmt: skip
    assert [mask.label for mask in sample.masks] == ["scar", "class_5"]
    (sample,), _ = records(tmp_path, components=True, **options)
    assert [(mask.label, mask.instance) for mask in sample.masks] == [
        ("polyp", 0), ("class_5", 0), ("class_5", 1),
    ]  # fmt: skip
    _, (skip,) = records(tmp_path, case_pattern="^q", **options)
    assert "does not match its name" in skip.reason


def test_both_masks_and_a_coco_file_are_refused_until_an_option_decides(tmp_path: Path):
    root_with(tmp_path, content(annotation(1, [SQUARE])))
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.eye(HEIGHT, WIDTH, dtype=np.uint8)).save(tmp_path / "masks" / "a.png")
    with pytest.raises(DatasetNotFoundError, match=r"has both .* set the option annotations to"):
        records(tmp_path)
    found = [
        [mask.label for mask in records(tmp_path, annotations=given)[0][0].masks]
        for given in ("annotations.json", "none")
    ]
    assert found == [["polyp"], ["class_1"]]


def test_which_file_is_meant_is_asked_for(tmp_path: Path):
    coco = content(annotation(1, [SQUARE]))
    root_with(tmp_path, coco, "annotations/train_a.json")
    shutil.copy(tmp_path / "annotations/train_a.json", tmp_path / "annotations/train_b.json")
    with pytest.raises(DatasetNotFoundError, match="both COCO files for train images: say"):
        records(tmp_path)
    (sample,), _ = records(tmp_path, annotations="annotations/train_a.json")
    assert sample.split is None
    (tmp_path / "annotations/train_b.json").rename(tmp_path / "annotations/rest.json")
    (sample,), (skip,) = records(tmp_path)
    assert (sample.split, skip.reason) == (
        "train", "its name holds none of train, val, test: which split is it?",
    )  # fmt: skip
    root_with(tmp_path, coco)  # which would bring the images of a split a second time
    with pytest.raises(DatasetNotFoundError, match="both COCO files for train images"):
        records(tmp_path)
    with pytest.raises(DatasetNotFoundError, match=r"there is no .*nowhere\.json"):
        records(tmp_path, annotations="nowhere.json")


@pytest.mark.parametrize(
    ("text", "error", "reason"),
    [
        ("[]", DatasetNotFoundError, "it is no object with the keys images"),
        ("{}", DatasetNotFoundError, "it has no key 'images'"),
        ('{"images": {}}', DatasetNotFoundError, "its key 'images' is no list"),
        ('{"images": [], "categories": []}', DatasetNotFoundError, "no key 'annotations'"),
        ('{"images": [1', BrokenInputError, "not readable as JSON"),
        ('{"images": [{"id": 1,', BrokenInputError, "not readable as JSON"),
        ('{"images" 5}', BrokenInputError, "expected ':'"),
        ("", BrokenInputError, "not readable as JSON"),
        ('{"info": ' + "[" * 100_000, BrokenInputError, "not readable as JSON"),
        ('{"info": ' + "9" * 5000 + "}", BrokenInputError, "not readable as JSON"),
        ("\xff", BrokenInputError, "not readable as JSON"),
    ],
)
def test_what_is_no_coco_file_is_told(tmp_path: Path, text: str, error: type[Exception], reason):
    root_with(tmp_path, {})
    (tmp_path / "annotations.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(error, match=r"annotations\.json") as caught:
        records(tmp_path)
    assert reason in str(caught.value)


def test_polygons_need_a_package_and_runs_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    root_with(tmp_path, content(annotation(1, compressed(mask_of(1)))))
    (sample,), _ = records(tmp_path)
    np.testing.assert_array_equal(resolve_mask(sample.masks[0].mask, ""), mask_of(1))
    root_with(tmp_path, content(annotation(1, [SQUARE])))
    with pytest.raises(MissingPackageError, match=r"pip install 'syncsam-lightning\[coco\]'"):
        records(tmp_path)


@pytest.mark.parametrize("changed", ["annotations.json", "train2017/b.png"])
def test_a_table_of_another_state_of_the_files_is_refused(tmp_path: Path, changed: str):
    picture(tmp_path / "r" / "train2017" / "b.png")
    coco = content(annotation(1, [SQUARE]), images=[image(), image(2, "train2017/b.png")])
    root_with(tmp_path / "r", coco)
    options: dict[str, Any] = {"batch_size": 1, "num_workers": 0, "test_fraction": 1}

    def prepare() -> None:
        table = str(tmp_path / "t.lance")
        MaskFolder(str(tmp_path / "r"), table, **options).prepare_data()

    prepare()
    prepare()
    (tmp_path / "r" / changed).write_bytes((tmp_path / "r" / changed).read_bytes() + b"\n\n")
    with pytest.raises(TableError, match="changed"):
        prepare()


@pytest.mark.parametrize("option", [{"mask_threshold": 0.5}, {"instance_label": "cell"}])
def test_options_of_mask_files_are_refused(tmp_path: Path, option: dict[str, Any]):
    root_with(tmp_path, content(annotation(1, [SQUARE])))
    with pytest.raises(ConversionError, match=f"{next(iter(option))} is of mask files"):
        records(tmp_path, **option)


def test_many_annotations_are_counted_by_kind(tmp_path: Path, convert):
    rng = np.random.default_rng(0)
    some = [annotation(n, [SQUARE], iscrowd=int(rng.random() < 0.3)) for n in range(300)]
    crowds = sum(one["iscrowd"] for one in some)
    converted = convert(MaskFolder, root_with(tmp_path, content(*some)), test_fraction=1)
    assert Counter(converted.kinds()) == {"crowd": crowds}
    assert len(converted.masks["a"]) == 300 - crowds
