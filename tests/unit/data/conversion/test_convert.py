"""Conversion loses nothing it doesn't name, and is whole or absent."""

import json
import os
import signal
import subprocess
import sys
from functools import partial
from operator import truediv

import lance
import numpy as np
import pytest
from PIL import Image

from syncsam_lightning.data.conversion import (
    Target,
    WorkOptions,
    convert,
    is_prepared,
    skipped_path,
)
from syncsam_lightning.data.conversion.row_units import identify
from syncsam_lightning.data.table import Table
from syncsam_lightning.errors import ConversionError, DatasetNotFoundError, TableError
from syncsam_lightning.records import NamedMask, RawSample, Skipped


def sample(tmp_path, name="a", *, image=None, masks=None):
    pixels = np.arange(20 * 30, dtype=np.uint8).reshape(20, 30) if image is None else image
    if masks is None:
        mask = np.zeros((20, 30), bool)
        mask[3:7, 4:9] = True
        masks = [NamedMask("organ", mask, path=f"{name}-mask.png")]
    return RawSample(
        id=name, image=pixels, masks=masks, modality="ct", source="s", case=name, path=f"{name}.png"
    )


def run(samples, tmp_path, split="test", options=None):
    table = tmp_path / "t.lance"
    report = convert(
        samples, table, image_size=16, split_of=lambda s: split, settings={}, options=options
    )
    lines = [json.loads(line) for line in skipped_path(table).read_text().splitlines()]
    return report, lines, Table(table)


def test_a_test_row_is_lossless_at_the_original_size(tmp_path):
    original = sample(tmp_path)
    report, lines, table = run([original], tmp_path)
    (record,) = table.read([0])
    assert lines == []
    assert (report.images.total(), report.masks) == (1, 1)
    np.testing.assert_array_equal(record.image[..., 0], original.image)
    np.testing.assert_array_equal(record.masks[0], original.masks[0].mask)
    np.testing.assert_array_equal(record.boxes, [[4, 3, 9, 7]])
    assert record.areas.tolist() == [20]
    assert (record.height, record.width, record.labels) == (20, 30, ("organ",))


def test_a_training_row_is_stored_with_its_long_side_at_the_model_size(tmp_path):
    _, _, table = run([sample(tmp_path)], tmp_path, split="train")
    (record,) = table.read([0])
    assert record.image.shape == (11, 16, 1)
    assert record.masks.shape == (1, 11, 16)
    assert (record.height, record.width) == (20, 30)
    np.testing.assert_array_equal(record.boxes, [[4, 3, 9, 7]])


def test_a_single_pixel_survives_downsizing(tmp_path):
    mask = np.zeros((20, 30), bool)
    mask[19, 29] = True
    _, _, table = run([sample(tmp_path, masks=[NamedMask("dot", mask)])], tmp_path, split="train")
    (record,) = table.read([0])
    assert record.masks.sum() == 1
    assert record.masks[0, -1, -1]


def test_colour_is_kept_and_grey_colour_is_collapsed(tmp_path):
    colour = np.zeros((20, 30, 3), np.uint8)
    colour[..., 1] = 7
    grey = np.full((20, 30, 3), 9, np.uint8)
    samples = [sample(tmp_path, "c", image=colour), sample(tmp_path, "g", image=grey)]
    _, _, table = run(samples, tmp_path)
    first, second = table.read([0, 1])
    np.testing.assert_array_equal(first.image, colour)
    assert second.image.shape == (20, 30, 1)


@pytest.mark.promise(
    "Input: of a damaged release all that is whole is used, and every defect is named"
)
def test_every_kind_of_bad_input_is_listed_with_path_and_reason(tmp_path):
    good = np.zeros((20, 30), bool)
    good[0, 0] = True
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30), np.uint8)).save(whole)
    truncated = tmp_path / "truncated.png"
    truncated.write_bytes(whole.read_bytes()[:200])
    text = tmp_path / "text.png"
    text.write_text("hello")
    samples = [
        sample(tmp_path, "fine"),
        sample(tmp_path, "bare", masks=[]),
        sample(
            tmp_path,
            "mixed",
            masks=[
                NamedMask("empty", np.zeros((20, 30), bool), path="empty.png"),
                NamedMask("shape", np.ones((5, 5), bool), path="shape.png"),
                NamedMask("good", good),
            ],
        ),
        RawSample("cut", truncated, [NamedMask("m", good)], "ct", "s", "c"),
        RawSample("text", text, [NamedMask("m", good)], "ct", "s", "c"),
        RawSample("gone", tmp_path / "gone.png", [NamedMask("m", good)], "ct", "s", "c"),
        sample(tmp_path, "fine"),
        Skipped("index.json::x", "entry without a file"),
    ]
    report, lines, table = run(samples, tmp_path)
    reasons = {line["path"]: line["reason"] for line in lines}
    assert reasons["bare.png"] == "image without masks"
    assert reasons["empty.png"] == "empty mask"
    assert "differs from its image in shape: mask 5x5, its image 20x30" in reasons["shape.png"]
    assert "cannot be decoded" in reasons[str(truncated)]
    assert reasons[str(text)] == "not an image file"
    assert reasons[str(tmp_path / "gone.png")] == "file not found"
    assert reasons["fine.png"] == "duplicate id fine"
    assert reasons["index.json::x"] == "entry without a file"
    assert len(lines) == report.num_skipped == 8
    assert [record.id for record in table.read([0, 1])] == ["fine", "mixed"]
    assert table.read([1])[0].labels == ("good",)
    assert table.read([1])[0].mask_ids.tolist() == [2]
    assert "8 skipped, listed in" in report.summary()


def test_a_mask_whose_sides_are_swapped_is_told_with_the_likely_reason(tmp_path):
    masks = [
        NamedMask("lying", np.ones((30, 20), bool), path="lying.png"),
        NamedMask("good", np.ones((20, 30), bool)),
    ]
    _, (line,), _ = run([sample(tmp_path, "a", masks=masks)], tmp_path)
    assert (line["path"], line["kind"]) == ("lying.png", "shape mismatch")
    assert "its sides are swapped: " in line["reason"]
    assert "EXIF" in line["reason"]


def test_a_release_with_nothing_usable_is_an_error_that_names_reasons(tmp_path):
    with pytest.raises(ConversionError, match=r"none of the images .*bare.png: image without mas"):
        run([sample(tmp_path, "bare", masks=[])], tmp_path)
    assert not (tmp_path / "t.lance").exists()
    with pytest.raises(ConversionError, match="holds no images"):
        run([], tmp_path)


def test_an_exception_in_the_plugin_leaves_no_table_and_keeps_its_type(tmp_path):
    def samples():
        yield sample(tmp_path)
        raise ZeroDivisionError("a bug in the plugin")

    with pytest.raises(ZeroDivisionError, match="a bug in the plugin"):
        run(samples(), tmp_path)
    assert not (tmp_path / "t.lance").exists()
    assert not (tmp_path / "t.lance.partial").exists()


@pytest.mark.promise("Resume: a conversion killed at any moment goes on and ends in the same table")
def test_a_killed_conversion_is_never_read_as_whole_and_runs_again(tmp_path):
    code = f"""
import os, signal, sys
from pathlib import Path
import numpy as np
from syncsam_lightning.data.conversion import convert
from syncsam_lightning.records import NamedMask, RawSample
def samples():
    for i in range(500):
        if i == 300:
            os.kill(os.getpid(), signal.SIGKILL)
        yield RawSample(str(i), np.zeros((9, 9), np.uint8), [NamedMask("m", np.ones((9, 9), bool))],
                        "ct", "s", str(i))
convert(samples(), Path({str(tmp_path / "t.lance")!r}), image_size=8,
        split_of=lambda s: "train", settings={{}})
"""
    killed = subprocess.run([sys.executable, "-c", code], env=os.environ, check=False)
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(DatasetNotFoundError, match="syncsam prepare"):
        len(Table(tmp_path / "t.lance"))
    _, _, table = run([sample(tmp_path)], tmp_path)
    assert len(table) == 1


def test_a_folder_that_is_no_table_is_refused(tmp_path):
    (tmp_path / "x.lance").mkdir()
    with pytest.raises(TableError, match=r"x\.lance is there but is no table"):
        len(Table(tmp_path / "x.lance"))


class StopError(Exception):
    pass


@pytest.mark.promise("Resume: a conversion killed at any moment goes on and ends in the same table")
def test_an_interrupted_conversion_goes_on_and_ends_in_the_same_rows(tmp_path):
    samples = [sample(tmp_path, str(number)) for number in range(10)] + [Skipped("x", "bad")]
    for moment in ("rows:0", "rows:3", "before commit", "committed"):

        def stop(passed, moment=moment):
            if passed == moment:
                raise StopError

        options = WorkOptions(unit_size=2, progress=False, at=stop)
        with pytest.raises(StopError):
            run(samples, tmp_path / "b", options=options)
    report, lines, table = run(samples, tmp_path / "b", options=WorkOptions(unit_size=2))
    whole_report, whole_lines, whole = run(samples, tmp_path / "a")
    made, expected = (lance.dataset(str(one.path)).to_table() for one in (table, whole))
    assert made == expected
    assert (report.images, report.masks, lines) == (whole_report.images, 10, whole_lines)
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == [
        "t.lance",
        "t.skipped.jsonl",
    ]


def test_fragments_that_an_interrupted_conversion_left_are_removed(tmp_path):
    good = [sample(tmp_path, str(number)) for number in range(4)]
    bad = RawSample("bad", partial(truediv, 1, 0), good[0].masks, "ct", "s", "c")
    with pytest.raises(ZeroDivisionError):
        run([*good, bad], tmp_path, options=WorkOptions(unit_size=2))
    _, _, table = run(good, tmp_path, options=WorkOptions(unit_size=3))
    assert len(table) == 4
    assert len(list((tmp_path / "t.lance" / "data").iterdir())) == 2


def test_a_table_that_is_there_is_not_overwritten(tmp_path):
    run([sample(tmp_path)], tmp_path)
    with pytest.raises(FileExistsError, match=r"t.lance is there already"):
        run([sample(tmp_path)], tmp_path)


def test_what_a_late_kill_left_beside_a_table_is_removed(tmp_path):
    _, _, table = run([sample(tmp_path)], tmp_path)
    target = Target(str(table.path))
    (target.work / "plan" / "rows").mkdir(parents=True)
    assert is_prepared(target)
    assert not target.work.exists()
    assert not is_prepared(Target(str(tmp_path / "other.lance")))


def test_a_name_that_is_not_utf8_is_listed(tmp_path):
    bad = sample(tmp_path, os.fsdecode(b"caf\xe9"))
    report, lines, table = run([bad, sample(tmp_path, "good")], tmp_path)
    assert [record.id for record in table.read(range(len(table)))] == ["good"]
    assert [line["reason"] for line in lines] == ["a name of it is not UTF-8"]
    assert report.num_skipped == 1


def with_files(folder, count):
    """Return samples of as many images as are told, whose files are to be made."""
    return [
        RawSample(
            str(n), folder / f"{n}.png", [NamedMask("m", folder / f"{n}-m.png")], "ct", "s", "c"
        )
        for n in range(count)
    ]


def write_files(samples):
    for one in samples:
        pixels = np.random.default_rng(int(one.id)).integers(1, 255, (20, 30), np.uint8)
        for path in (one.image, one.masks[0].mask):
            Image.fromarray(pixels).save(path)


def test_a_release_of_which_most_files_are_gone_is_no_table_until_they_are_back(tmp_path):
    samples = with_files(tmp_path, 40)
    write_files(samples[:10])
    with pytest.raises(
        ConversionError, match=r"30 files .* are not there.*10\.png: file not found"
    ):
        run(samples, tmp_path, options=WorkOptions(unit_size=4, progress=False))
    assert not (tmp_path / "t.lance").exists()
    write_files(samples[10:])
    report, lines, _ = run(samples, tmp_path, options=WorkOptions(unit_size=4, progress=False))
    assert (report.images.total(), lines) == (40, [])


def test_a_file_that_was_missing_is_looked_for_again(tmp_path):
    samples = with_files(tmp_path, 4)
    write_files(samples)
    samples[1].masks[0].mask.rename(tmp_path / "elsewhere")

    def stop(passed):
        if passed == "before commit":
            raise StopError

    with pytest.raises(StopError):
        run(samples, tmp_path, options=WorkOptions(unit_size=2, progress=False, at=stop))
    (tmp_path / "elsewhere").rename(samples[1].masks[0].mask)
    report, lines, _ = run(samples, tmp_path, options=WorkOptions(unit_size=2, progress=False))
    assert (report.images.total(), lines) == (4, [])


def test_files_that_changed_while_a_conversion_was_interrupted_are_read_again(tmp_path):
    samples = with_files(tmp_path, 4)
    write_files(samples)

    def stop(passed):
        if passed == "rows:1":
            raise StopError

    with pytest.raises(StopError):
        run(samples, tmp_path, options=WorkOptions(unit_size=2, progress=False, at=stop))
    mended = np.zeros((20, 30), np.uint8)
    mended[:2] = 255
    Image.fromarray(mended).save(samples[0].masks[0].mask)
    _, _, table = run(samples, tmp_path, options=WorkOptions(unit_size=2, progress=False))
    assert [int(record.areas[0]) == 60 for record in table.read(range(4))] == [True] + [False] * 3


def test_a_value_of_a_label_map_is_read_again_where_its_file_changed(tmp_path):
    path = tmp_path / "labels.png"
    path.write_bytes(b"1")
    mask = NamedMask("m", np.ones((20, 30), bool), f"{path}[3]", files=(str(path),))
    before = list(identify((sample(tmp_path, masks=[mask]), "train")))
    path.write_bytes(b"22")
    assert list(identify((sample(tmp_path, masks=[mask]), "train"))) != before
