"""Recorded prompts come back bit for bit, and what doesn't fit is named."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from syncsam_lightning.errors import PromptFileError
from syncsam_lightning.evaluation.prompt_file import (
    RecordedPrompts,
    prompt_rows,
    prompt_table,
    write_prompts,
)
from syncsam_lightning.interaction import get_protocol
from syncsam_lightning.models import InputSpec

SPEC = InputSpec(64, frozenset({"boxes", "points", "masks"}), 16)


@pytest.fixture
def rows(make_batch, evaluate):
    batch = make_batch()
    return {name: prompt_rows(evaluate(batch, name), SPEC) for name in ("box", "1pt", "5pts")}


@pytest.fixture
def recorded(tmp_path):
    def build(rows):
        path = tmp_path / "prompts.parquet"
        write_prompts(path, prompt_table(rows))
        return RecordedPrompts(path)

    return build


@pytest.mark.parametrize("name", ["box", "1pt", "5pts"])
def test_replayed_prompts_and_scores_equal_those_recorded(
    make_batch, evaluate, recorded, rows, name
):
    batch, protocol = make_batch(), get_protocol(name)
    first = evaluate(batch, name)
    again = evaluate(batch, name, replay=recorded(rows[name]).rounds(batch, protocol, SPEC))
    assert again.scores == first.scores
    for ours, theirs in zip(first.rounds, again.rounds, strict=True):
        for field in ("boxes", "points", "point_labels", "mask_logits"):
            left, right = getattr(ours, field), getattr(theirs, field)
            assert (left is None) == (right is None), field
            assert left is None or torch.equal(left, right), field


def test_boxes_are_stored_in_original_pixels(rows):
    assert [row.box for row in rows["box"]] == [
        [16.0, 32.0, 48.0, 64.0],
        [0.0, 64.0, 32.0, 96.0],
        [16.0, 8.0, 48.0, 24.0],
    ]
    assert all(row.points is None and row.point_labels is None for row in rows["box"])


def test_points_lie_on_their_object_in_original_pixels(make_batch, rows):
    first, *_ = make_batch().original_masks
    x, y = rows["1pt"][0].points[0]
    assert first[0][round(y), round(x)]
    assert rows["1pt"][0].point_labels == [1]


def test_images_that_only_fill_up_are_not_recorded(make_batch, evaluate):
    batch = make_batch(second_is_valid=False)
    assert {row.image_id for row in prompt_rows(evaluate(batch), SPEC)} == {"first"}


def test_a_missing_object_is_named(make_batch, recorded, rows):
    prompts = recorded(rows["box"][:2])
    with pytest.raises(PromptFileError, match=r"no prompts for mask 0 of image second in round 0"):
        prompts.rounds(make_batch(), get_protocol("box"), SPEC)


def test_another_version_of_the_protocol_is_refused(make_batch, recorded, rows):
    prompts = recorded([replace(row, version=9) for row in rows["box"]])
    with pytest.raises(PromptFileError, match="version 9 of protocol box, this is version 2"):
        prompts.rounds(make_batch(), get_protocol("box"), SPEC)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"box": None}, r"no prompt for mask 3 of image first .*, but a box for mask 0"),
        ({"box": [1.0, 2.0]}, r"box of mask 3 of image first .* must have 4 numbers, got 2"),
        (
            {"points": [[1.0, 2.0]], "point_labels": [1]},
            r"a box and 1 points for mask 3 of image first",
        ),
    ],
)
def test_a_row_that_does_not_fit_the_others_is_named(make_batch, recorded, rows, change, message):
    first, second, third = rows["box"]
    prompts = recorded([first, replace(second, **change), third])
    with pytest.raises(PromptFileError, match=message):
        prompts.rounds(make_batch(), get_protocol("box"), SPEC)


def test_points_without_labels_are_named(make_batch, recorded, rows):
    prompts = recorded([replace(row, point_labels=[]) for row in rows["1pt"]])
    with pytest.raises(PromptFileError, match=r"mask 0 of image first .* 1 points but 0 labels"):
        prompts.rounds(make_batch(), get_protocol("1pt"), SPEC)


def test_an_object_that_stands_twice_is_named(recorded, rows):
    with pytest.raises(PromptFileError, match=r"holds mask 0 of image first in round 0 .* twice"):
        recorded([*rows["box"], rows["box"][0]])


def test_other_files_are_refused(tmp_path):
    with pytest.raises(PromptFileError, match=r"nothing\.parquet does not exist"):
        RecordedPrompts(tmp_path / "nothing.parquet")
    text = tmp_path / "text.parquet"
    text.write_text("no table")
    with pytest.raises(PromptFileError, match="is no prompt file"):
        RecordedPrompts(text)
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"a": [1]}), other)
    with pytest.raises(PromptFileError, match="is no prompt file"):
        RecordedPrompts(other)


def test_no_half_written_file_is_left(tmp_path, rows):
    write_prompts(tmp_path / "prompts.parquet", prompt_table(rows["5pts"]))
    assert [path.name for path in tmp_path.iterdir()] == ["prompts.parquet"]
