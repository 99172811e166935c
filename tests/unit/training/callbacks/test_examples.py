"""A test keeps the same images whatever the batches, each with truth and answers."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from syncsam_lightning.evaluation.examples import example_rank, read_examples
from syncsam_lightning.training.callbacks.examples import ExampleKeeper


@pytest.fixture
def kept(discs, task, trainer, tmp_path):
    def run(batch_size: int = 2, protocols=("box",), **settings):
        torch.manual_seed(0)
        folder = tmp_path / f"{batch_size}{settings}"
        runner = trainer(folder, callbacks=[ExampleKeeper(**settings)])
        runner.test(task(protocols=protocols), discs(batch_size=batch_size), verbose=False)
        return folder / "test"

    return run


def test_answers_have_the_scores_of_the_report(kept):
    folder = kept(protocols=("box", "1pt"))
    rows = pq.read_table(folder / "scores.parquet").to_pylist()
    scores = {(r["image_id"], r["mask_id"], r["protocol"]): r["dice"] for r in rows}
    examples = read_examples(folder / "examples.parquet")
    found = {
        (example.image_id, answer.mask_id, answer.protocol): answer.dice
        for example in examples
        for answer in example.answers
    }
    assert found == pytest.approx(scores)
    areas = {(r["image_id"], r["mask_id"], r["protocol"]): r["area"] for r in rows}
    assert {
        (example.image_id, answer.mask_id, answer.protocol): int(answer.truth.sum())
        for example in examples
        for answer in example.answers
    } == areas
    assert all(example.picture.dtype == np.uint8 for example in examples)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_images_of_lowest_rank_are_kept_whatever_the_batches(kept, batch_size):
    folder = kept(batch_size, per_modality=1, seed=5)
    rows = pq.read_table(folder / "scores.parquet").to_pylist()
    expected = {
        min(
            (r["image_id"] for r in rows if r["modality"] == modality),
            key=lambda name: example_rank(name, 5),
        )
        for modality in {r["modality"] for r in rows}
    }
    examples = read_examples(folder / "examples.parquet")
    assert {example.image_id for example in examples} == expected


def test_named_images_are_kept_beside_the_others(kept):
    folder = kept(per_modality=0, image_ids=["disc-14"])
    assert [e.image_id for e in read_examples(folder / "examples.parquet")] == ["disc-14"]


def test_the_largest_masks_of_an_image_are_kept(kept):
    folder = kept(masks_per_image=1)
    rows = pq.read_table(folder / "scores.parquet").to_pylist()
    for example in read_examples(folder / "examples.parquet"):
        areas = [r["area"] for r in rows if r["image_id"] == example.image_id]
        assert {int(answer.truth.sum()) for answer in example.answers} == {max(areas)}


def test_none_asked_for_is_none_written(kept):
    assert not (kept(per_modality=0) / "examples.parquet").exists()


@pytest.mark.parametrize("name", ["per_modality", "masks_per_image"])
def test_a_negative_number_is_refused(name):
    with pytest.raises(ValueError, match=rf"examples.{name} must be 0 or more, got -1"):
        ExampleKeeper(**{name: -1})
