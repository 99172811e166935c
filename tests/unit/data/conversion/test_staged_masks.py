from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from syncsam_lightning.data.conversion import Workbench, WorkOptions, staged_masks
from syncsam_lightning.data.conversion.staged_masks import MaskFile, StagedMasks, stage_masks
from syncsam_lightning.records import Skipped
from syncsam_lightning.seeding import stable_key

QUIET = WorkOptions(unit_size=3, progress=False)


def pixels(number: int) -> np.ndarray:
    mask = np.zeros((3 + number % 2, 11), bool)
    mask[number % 3, : 1 + number] = True
    return mask


def files() -> list[MaskFile]:
    """Ten masks of five images; those of one image are never neighbours."""
    return [MaskFile(f"i{n % 5}", f"m{n:02d}", "s", pixels(n)) for n in reversed(range(10))]


def stage(folder: Path, masks=None, options: WorkOptions = QUIET) -> StagedMasks:
    masks = files() if masks is None else masks
    return stage_masks(Workbench(folder, {}, options), masks, len(masks))


def test_each_image_finds_its_masks_by_name_and_pixel(tmp_path: Path):
    staged = stage(tmp_path)
    assert len(staged) == 10
    for image in range(5):
        found = staged.of(f"i{image}")
        assert [name for name, _ in found] == [f"m{image:02d}", f"m{image + 5:02d}"]
        for number, (_, mask) in zip((image, image + 5), found, strict=True):
            np.testing.assert_array_equal(mask(), pixels(number))
    assert staged.of("i5") == []


def test_two_images_with_one_key_keep_their_own_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(staged_masks, "stable_key", lambda name: 7)
    staged = stage(tmp_path)
    assert [name for name, _ in staged.of("i3")] == ["m03", "m08"]


def test_masks_of_images_that_are_not_there_are_named(tmp_path: Path):
    keys = np.sort(np.array([stable_key(f"i{n}") for n in (0, 2, 4)]))
    assert list(stage(tmp_path).without_image(keys)) == ["m08", "m06", "m03", "m01"]
    nobody = np.zeros(0, np.int64)
    assert len(list(stage(tmp_path).without_image(nobody))) == 10


def test_an_unreadable_mask_is_listed_and_the_others_stay(tmp_path: Path):
    masks = [MaskFile("i0", "cube", "s", np.zeros((2, 2, 2))), *files()]
    bench = Workbench(tmp_path, {}, QUIET)
    staged = stage_masks(bench, [Skipped("x", "bad", "malformed name"), *masks], 12)
    assert len(staged) == 10
    assert [(skip.path, skip.kind, skip.source) for skip in bench.skipped()] == [
        ("x", "malformed name", ""),
        ("cube", "unreadable file", "s"),
    ]


def test_masks_of_several_batches_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(staged_masks, "_ROWS_PER_BATCH", 2)
    staged = stage(tmp_path, options=WorkOptions(unit_size=7, progress=False))
    np.testing.assert_array_equal(staged.of("i4")[1][1](), pixels(9))


def test_a_release_without_masks_has_none(tmp_path: Path):
    staged = stage(tmp_path, [])
    assert (len(staged), staged.of("i0")) == (0, [])


def test_the_index_follows_masks_that_changed(tmp_path: Path):
    stage(tmp_path)
    changed = [MaskFile("new", f"n{number}", "s", pixels(number)) for number in range(3)]
    staged = stage(tmp_path, changed + files()[3:])
    assert [name for name, _ in staged.of("new")] == ["n0", "n1", "n2"]
    assert [name for name, _ in staged.of("i4")] == ["m04"]


def test_a_mask_that_was_mended_is_found_by_the_process_that_met_it_broken(tmp_path: Path):
    masks = files()
    broken = [MaskFile(masks[0].image, masks[0].name, "s", tmp_path / "gone.png"), *masks[1:]]
    assert [name for name, _ in stage(tmp_path, broken).of("i4")] == ["m04"]
    stage(tmp_path, broken).of("i3")[1][1]()
    mended = stage(tmp_path)
    assert [name for name, _ in mended.of("i4")] == ["m04", "m09"]
    for image in range(5):
        for number, (_, mask) in zip((image, image + 5), mended.of(f"i{image}"), strict=True):
            np.testing.assert_array_equal(mask(), pixels(number))
