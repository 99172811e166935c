"""STS, COSAS24, KPIs and EBHI on small releases of their public layouts, sound and damaged."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from syncsam_datamodules.cosas24 import COSAS24
from syncsam_datamodules.ebhi import EBHI
from syncsam_datamodules.kpis import KPIs
from syncsam_datamodules.sts import STS

from syncsam_lightning.data.zero_shot import ZeroShotDataModule

SIDE = 256
SMALLEST = 100  # pixels of 256 x 256: the predecessor's threshold


@dataclass(frozen=True)
class Layout:
    plugin: type[ZeroShotDataModule]
    folder: str
    image: str
    mask: str
    label: str

    def id(self, name: str) -> str:
        return f"{self.plugin.__name__}/{self.folder}/{name}"


LAYOUTS = {
    "STS": Layout(STS, "A-PXI", "image/{}.png", "mask/{}.png", "tooth"),
    "COSAS24": Layout(COSAS24, "task1/domain1", "image/{}.png", "mask/{}.png", "adenocarcinoma"),
    "KPIs": Layout(KPIs, "test/DN/11-356", "img/{}_img.jpg", "mask/{}_mask.jpg", "glomerulus"),
    "EBHI": Layout(EBHI, "EBHI-SEG/Polyp", "image/{}.png", "label/{}.png", "Polyp"),
}
THRESHOLDED = ("STS", "KPIs", "EBHI")


@pytest.fixture(params=sorted(LAYOUTS))
def layout(request: pytest.FixtureRequest) -> Layout:
    return LAYOUTS[request.param]


def squares(*areas: int, value: int = 255) -> np.ndarray:
    """Objects of these areas, one under the other, each ten pixels high if it can be."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for number, area in enumerate(areas):
        rows, rest = divmod(area, 10)
        top = 2 + 20 * number
        mask[top : top + 10, 3 : 3 + rows] = value
        mask[top : top + rest, 3 + rows] = value
    return mask


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Lossless also where the release has JPEG, unless a test is about that.
    Image.fromarray(pixels).save(path, format="PNG")


def add(root: Path, layout: Layout, name: str, mask: np.ndarray | None, image: bool = True) -> None:
    folder = root / layout.folder
    if image:
        noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        save(folder / layout.image.format(name), noise)
    if mask is not None:
        save(folder / layout.mask.format(name), mask)


def test_components_of_a_mask_are_objects(layout: Layout, tmp_path: Path, convert: Any):
    corner = np.zeros((SIDE, SIDE), np.uint8)
    corner[0:20, 0:20] = corner[20:40, 20:40] = 255  # joined by a corner: 8-connected
    add(tmp_path, layout, "a", corner)
    add(tmp_path, layout, "b", squares(200, 300))
    found = convert(layout.plugin, tmp_path)
    assert found.skipped == []
    assert found.labels == {
        layout.id("a"): [layout.label],
        layout.id("b"): [layout.label, layout.label],
    }
    np.testing.assert_array_equal(found.masks[layout.id("a")][0], corner == 255)
    assert [int(mask.sum()) for mask in found.masks[layout.id("b")]] == [200, 300]


def test_an_object_that_fills_the_image_stays_whole(layout: Layout, tmp_path: Path, convert: Any):
    add(tmp_path, layout, "a", np.full((SIDE, SIDE), 255, np.uint8))
    found = convert(layout.plugin, tmp_path)
    assert found.masks[layout.id("a")][0].all()
    assert found.skipped == []


@pytest.mark.parametrize("name", THRESHOLDED)
@pytest.mark.parametrize(("preprocessing", "lowest"), [("paper", 150), ("recommended", 128)])
def test_grey_masks_are_cut_at_the_threshold(
    name: str, preprocessing: str, lowest: int, tmp_path: Path, convert: Any
):
    layout = LAYOUTS[name]
    mask = squares(400, value=lowest)
    mask[mask == 0] = lowest - 1
    add(tmp_path, layout, "a", mask)
    found = convert(layout.plugin, tmp_path, preprocessing=preprocessing)
    assert int(found.masks[layout.id("a")][0].sum()) == 400


def test_the_paper_takes_all_but_black_of_cosas(tmp_path: Path, convert: Any):
    layout = LAYOUTS["COSAS24"]
    add(tmp_path, layout, "a", squares(400, value=1))
    add(tmp_path, layout, "b", squares(400, value=3))
    paper = convert(COSAS24, tmp_path)
    assert {len(masks) for masks in paper.masks.values()} == {1}
    recommended = convert(COSAS24, tmp_path, preprocessing="recommended")
    assert list(recommended.masks) == [layout.id("a")]
    assert "the largest value is 3" in recommended.reason("empty mask")


@pytest.mark.parametrize("name", THRESHOLDED)
def test_an_object_of_exactly_the_smallest_area_is_kept(name: str, tmp_path: Path, convert: Any):
    layout = LAYOUTS[name]
    add(tmp_path, layout, "a", squares(SMALLEST - 1, SMALLEST, SMALLEST + 1))
    found = convert(layout.plugin, tmp_path)
    assert [int(mask.sum()) for mask in found.masks[layout.id("a")]] == [SMALLEST, SMALLEST + 1]
    assert found.kinds() == ["object too small"]
    assert "1 of its 3 objects cover less than 0.1526% of" in found.reason("object too small")


def test_the_paper_keeps_the_smallest_specks_of_cosas(tmp_path: Path, convert: Any):
    add(tmp_path, LAYOUTS["COSAS24"], "a", squares(1, 400))
    assert [len(m) for m in convert(COSAS24, tmp_path).masks.values()] == [2]
    cleaned = convert(COSAS24, tmp_path, preprocessing="recommended")
    assert [len(m) for m in cleaned.masks.values()] == [1]
    assert cleaned.kinds() == ["object too small"]


@pytest.mark.parametrize("name", ["KPIs", "EBHI"])
@pytest.mark.parametrize("radius", [12, 40, 80])
def test_jpeg_masks_keep_their_area(name: str, radius: int, tmp_path: Path, convert: Any):
    # Cut at 255, as the predecessor's loader does, such discs lose 5 to 18 % of their area.
    layout = LAYOUTS[name]
    y, x = np.mgrid[:SIDE, :SIDE]
    disc = (y - 120) ** 2 + (x - 120) ** 2 <= radius**2
    add(tmp_path, layout, "a", None)
    path = tmp_path / layout.folder / layout.mask.format("a")
    path = path.with_suffix(".jpg")
    path.parent.mkdir(parents=True)
    Image.fromarray(disc.astype(np.uint8) * 255).save(path, quality=95)
    found = convert(layout.plugin, tmp_path, preprocessing="recommended").masks[layout.id("a")]
    assert len(found) == 1
    assert 2 * (found[0] & disc).sum() / (found[0].sum() + disc.sum()) > 0.99


def test_what_cannot_be_used_is_listed_by_its_reason(layout: Layout, tmp_path: Path, convert: Any):
    folder = tmp_path / layout.folder
    add(tmp_path, layout, "good", squares(400))
    add(tmp_path, layout, "unmasked", None)
    add(tmp_path, layout, "lonely", squares(400), image=False)
    add(tmp_path, layout, "empty", squares())
    add(tmp_path, layout, "other_size", squares(400)[:200])
    add(tmp_path, layout, "bad_mask", squares(400))
    add(tmp_path, layout, "bad_image", squares(400))
    for pattern, name in ((layout.mask, "bad_mask"), (layout.image, "bad_image")):
        path = folder / pattern.format(name)
        path.write_bytes(path.read_bytes()[:90])
    (folder / layout.image.format("notes")).with_suffix(".txt").write_text("")
    save(folder / "overview.png", squares(400))
    save((folder / layout.image.format("good")).with_suffix(".bmp"), squares(400))
    (folder / layout.image.format(".hidden")).write_bytes(b"")
    found = convert(layout.plugin, tmp_path)
    assert list(found.masks) == [layout.id("good")]
    assert found.kinds() == [
        "empty mask",
        "image without mask",
        "image without usable mask",  # of the empty mask,
        "image without usable mask",  # the unreadable one,
        "image without usable mask",  # and the one of another size
        "mask without image",
        "misplaced file",
        "same name twice",
        "shape mismatch",
        "unknown file",
        "unreadable file",
        "unreadable file",
    ]
    assert "the largest value is 0" in found.reason("empty mask")
    assert {line["source"] for line in found.skipped} == {layout.plugin.__name__}


def test_a_folder_above_that_is_called_like_images_means_nothing(
    layout: Layout, tmp_path: Path, convert: Any
):
    root = tmp_path / "img_image_mask" / "img" / "mask"
    add(root, layout, "a", squares(400))
    found = convert(layout.plugin, root)
    assert list(found.masks) == [layout.id("a")]
    assert found.skipped == []


def test_equal_names_in_two_folders_are_two_images(layout: Layout, tmp_path: Path, convert: Any):
    # The predecessor flattens the folders, so that one would overwrite the other.
    add(tmp_path, layout, "a", squares(400))
    add(tmp_path / "more", layout, "a", squares(500))
    found = convert(layout.plugin, tmp_path)
    areas = {id_: int(masks[0].sum()) for id_, masks in found.masks.items()}
    more = f"{layout.plugin.__name__}/more/{layout.folder}/a"
    assert areas == {layout.id("a"): 400, more: 500}


def test_an_archive_is_read_like_its_folder(layout: Layout, tmp_path: Path, convert: Any):
    root = tmp_path / "release"
    add(root, layout, "a", squares(400))
    with zipfile.ZipFile(tmp_path / "release.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(root.rglob("*.*")):
            archive.write(path, path.relative_to(root))
    unpacked, packed = (
        convert(layout.plugin, root),
        convert(layout.plugin, tmp_path / "release.zip"),
    )
    assert packed.skipped == unpacked.skipped == []
    assert packed.masks.keys() == unpacked.masks.keys()
    np.testing.assert_array_equal(packed.images[layout.id("a")], unpacked.images[layout.id("a")])


def test_a_mask_in_colours_is_refused_and_one_of_equal_channels_is_grey(
    tmp_path: Path, convert: Any
):
    layout = LAYOUTS["EBHI"]
    mask = squares(400)
    red = np.stack([mask, 0 * mask, 0 * mask], axis=-1)
    add(tmp_path, layout, "white", np.stack([mask] * 3, axis=-1))
    add(tmp_path, layout, "red", red)
    found = convert(EBHI, tmp_path)
    assert list(found.masks) == [layout.id("white")]
    assert "is a colour image" in found.reason("colours")


def test_bilevel_masks_are_black_and_white(tmp_path: Path, convert: Any):
    layout = LAYOUTS["STS"]
    add(tmp_path, layout, "a", None)
    path = tmp_path / layout.folder / layout.mask.format("a")
    path.parent.mkdir(parents=True)
    Image.fromarray(squares(400)).convert("1").save(path)
    assert [len(masks) for masks in convert(STS, tmp_path).masks.values()] == [1]


def test_the_classes_of_ebhi_are_its_folders(tmp_path: Path, convert: Any):
    for name in ("Normal", "Low-grade IN"):
        folder = tmp_path / "EBHI-SEG" / name
        save(folder / "image" / "1.png", squares(200, 300))
        save(folder / "label" / "1.png", squares(400))
    found = convert(EBHI, tmp_path)
    assert found.labels == {
        "EBHI/EBHI-SEG/Low-grade IN/1": ["Low-grade IN"],
        "EBHI/EBHI-SEG/Normal/1": ["Normal"],
    }


def test_specimens_are_the_cases_of_ebhi_in_whichever_class(tmp_path: Path):
    for folder, name in (("Polyp", "GTDC2102188-2-400-001"), ("Normal", "GTDC2102188-3-400-002")):
        add(tmp_path, replace(LAYOUTS["EBHI"], folder=f"EBHI-SEG/{folder}"), name, squares(400))
    assert {sample.case for sample in EBHI().records(tmp_path)} == {"GTDC2102188"}  # type: ignore[union-attr]


def test_slides_are_the_cases_of_kpis(tmp_path: Path):
    add(tmp_path, LAYOUTS["KPIs"], "p", squares(400))
    (sample,) = KPIs().records(tmp_path)
    assert (sample.case, sample.id) == ("11-356", "KPIs/test/DN/11-356/p")  # type: ignore[union-attr]


def test_a_share_may_be_trained_on(layout: Layout, tmp_path: Path):
    for number in range(4):
        add(tmp_path / f"slide{number}", replace(layout, folder=f"s{number}"), "a", squares(400))
    table = str(tmp_path / "t.lance")
    half = {"test_fraction": 0.5, "val_fraction": 0}
    datamodule = layout.plugin(str(tmp_path), table, num_workers=0, **half)
    datamodule.prepare_data()
    datamodule.setup()
    assert (datamodule.num_rows("test"), datamodule.num_rows("train")) == (2, 2)


def test_a_misspelt_preprocessing_is_refused():
    with pytest.raises(ValueError, match="preprocessing must be paper or recommended, got 'papr'"):
        STS(preprocessing="papr")  # type: ignore[arg-type]
