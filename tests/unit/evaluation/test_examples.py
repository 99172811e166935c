"""Examples come back as they were written, and the choice depends on ids alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from syncsam_lightning.errors import ExamplesError
from syncsam_lightning.evaluation.examples import (
    Answer,
    Example,
    example_rank,
    read_examples,
    write_examples,
)


def answer(truth, predicted) -> Answer:
    return Answer("box", 3, "liver", np.array(truth, bool), np.array(predicted, bool))


def test_pixels_and_names_come_back_as_they_were(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    truth = np.random.default_rng(1).random((11, 13)) > 0.5
    written = Example("ü/1", "A", "ct", picture, [Answer("5pts", 3, "liver", truth, ~truth)])
    write_examples(tmp_path / "examples.parquet", [written])
    (read,) = read_examples(tmp_path / "examples.parquet")
    assert (read.image_id, read.source, read.modality) == ("ü/1", "A", "ct")
    assert (read.picture == picture).all()
    (found,) = read.answers
    assert (found.protocol, found.mask_id, found.label) == ("5pts", 3, "liver")
    assert found.truth.dtype == bool
    assert (found.truth == truth).all()
    assert (found.answer == ~truth).all()
    assert [path.name for path in tmp_path.iterdir()] == ["examples.parquet"]


@pytest.mark.parametrize(
    ("truth", "predicted", "expected"),
    [
        ([[1, 1, 0]], [[0, 1, 1]], 0.5),
        ([[1]], [[1]], 1.0),
        ([[0]], [[0]], 1.0),
        ([[1]], [[0]], 0.0),
    ],
)
def test_the_dsc_is_that_by_hand(truth, predicted, expected):
    assert answer(truth, predicted).dice == expected


def test_the_rank_depends_on_id_and_seed_alone():
    assert example_rank("a", 0) == example_rank("a", 0)
    assert len({example_rank(name, seed) for name in "ab" for seed in (0, 1)}) == 4


def test_a_missing_file_says_who_writes_it(tmp_path):
    with pytest.raises(ExamplesError, match="does not exist: `syncsam test` writes it"):
        read_examples(tmp_path / "examples.parquet")


def test_damaged_files_and_pictures_are_named(tmp_path):
    path = tmp_path / "examples.parquet"
    path.write_bytes(b"no parquet")
    with pytest.raises(ExamplesError, match=r"examples\.parquet can't be read"):
        read_examples(path)
    truth = np.ones((2, 2), bool)
    picture = np.zeros((2, 2, 3), np.uint8)
    write_examples(path, [Example("i", "A", "ct", picture, [Answer("box", 0, "x", truth, truth)])])
    (row,) = pq.read_table(path).to_pylist()
    schema = pq.read_schema(path)
    pq.write_table(pa.Table.from_pylist([row | {"picture": b"GIF89a"}], schema=schema), path)
    with pytest.raises(ExamplesError, match=r"examples\.parquet can't be read"):
        read_examples(path)


def without(path: Path, *place: str | int) -> None:
    """Write one example with one answer, in which one value is missing."""
    pixels = np.zeros((2, 2, 3), np.uint8)
    write_examples(path, [Example("a", "A", "ct", pixels, [answer([[1]], [[1]])])])
    (row,) = pq.read_table(path).to_pylist()
    holder = row
    for step in place[:-1]:
        holder = holder[step]
    holder[place[-1]] = None
    pq.write_table(pa.Table.from_pylist([row], schema=pq.read_schema(path)), path)


@pytest.mark.parametrize(
    ("place", "told"),
    [
        (("image_id",), "lacks values for image_id"),
        (("answers",), "lacks values for answers"),
        (("answers", 0), "lacks values for an answer"),
        (("answers", 0, "truth"), "lacks values for truth"),
    ],
)
def test_a_file_that_lacks_a_value_names_it(tmp_path, place, told):
    without(tmp_path / "examples.parquet", *place)
    with pytest.raises(ExamplesError, match=told):
        read_examples(tmp_path / "examples.parquet")
