"""A damaged row costs itself: its batch goes on without it, and says so."""

import numpy as np
import pytest
import torch

from syncsam_lightning.data.collate import collate
from syncsam_lightning.data.damage import DamagedRow, read_around_damage
from syncsam_lightning.data.dataset import EvaluationSet, Sample, TrainingSet
from syncsam_lightning.data.rows import TableRows
from syncsam_lightning.data.sampler import EvaluationKey, TrainingKey
from syncsam_lightning.data.synthetic import write_synthetic_table
from syncsam_lightning.data.table import Table
from syncsam_lightning.errors import DamagedRowError, DatasetNotFoundError, TableError


@pytest.fixture
def make_rows(tiny):
    """Return the rows of a split of which some are damaged in their pixels."""

    def build(split, damaged):
        table = tiny().table
        offsets = table.offsets(split)
        for index in damaged:
            (row,) = table.rows([offsets[index]])
            flip(table, row.image_frame)
        return TableRows(Table(table.path), offsets)

    return build


def flip(table, frame):
    for file in (table.path / "data").iterdir():
        content = bytearray(file.read_bytes())
        if (begin := content.find(frame)) >= 0:
            content[begin + len(frame) // 2] ^= 1
            file.write_bytes(content)
            return
    raise AssertionError("the frame lies in no file")


def training_set(rows):
    return TrainingSet(rows, image_size=32, masks_per_image=3, seed=0)


@pytest.mark.promise(
    "Input: damage to a row of a table is noticed, the row is named and the others are used"
)
def test_a_batch_is_smaller_by_its_damaged_rows_and_names_them(make_rows):
    damaged = training_set(make_rows("train", [1, 3]))
    keys = [TrainingKey(0, row) for row in range(4)]
    batch = collate(damaged.__getitems__(keys))
    assert [info.index for info in batch.infos] == [0, 2]
    assert batch.targets.image_index.tolist() == [0] * 3 + [1] * 3
    assert [row.index for row in batch.damaged] == [1, 3]
    for row in batch.damaged:
        assert str(damaged.rows.table.path) in row.reason
        assert "(image image-" in row.reason
        assert "prepare the table again" in row.reason


@pytest.mark.promise(
    "Input: damage to a row of a table is noticed, the row is named and the others are used"
)
def test_the_other_rows_of_the_batch_are_what_they_were(make_rows):
    keys = [TrainingKey(0, row) for row in (0, 2)]
    damaged = training_set(make_rows("train", [1]))
    whole = collate(damaged.__getitems__(keys))
    around = collate(damaged.__getitems__([keys[0], TrainingKey(0, 1), keys[1]]))
    assert torch.equal(whole.images, around.images)
    assert torch.equal(whole.targets.masks, around.targets.masks)
    assert torch.equal(whole.targets.keys, around.targets.keys)
    assert whole.damaged == []


def test_a_batch_without_whole_rows_gets_one_that_stands_in_always_the_same(make_rows):
    damaged = training_set(make_rows("train", [1, 3]))
    keys = [TrainingKey(2, 1), TrainingKey(2, 3)]
    first, again = (collate(damaged.__getitems__(keys)) for _ in range(2))
    assert len(first.infos) == 1
    assert first.infos[0].index not in (1, 3)
    assert len(first.damaged) == 2
    assert first.infos == again.infos
    assert torch.equal(first.images, again.images)


def test_in_evaluation_what_stands_in_is_not_scored(make_rows):
    rows = make_rows("test", [0])
    damaged = EvaluationSet(rows, image_size=32, seed=0)
    batch = collate(damaged.__getitems__([EvaluationKey(0, True)]))
    assert [info.valid for info in batch.infos] == [False]
    assert [row.index for row in batch.damaged] == [0]


def test_a_damaged_row_that_only_fills_up_is_named_by_the_rank_that_it_belongs_to(make_rows):
    damaged = EvaluationSet(make_rows("test", [0]), image_size=32, seed=0)
    batch = collate(damaged.__getitems__([EvaluationKey(1, True), EvaluationKey(0, False)]))
    assert [info.index for info in batch.infos] == [1]
    assert batch.damaged == []


def test_when_nothing_can_be_read_the_error_says_what_was_tried(make_rows):
    damaged = EvaluationSet(make_rows("test", range(4)), image_size=32, seed=0)
    assert len(damaged) == 4
    with pytest.raises(TableError, match=r"nor any of 100 others .*: row \d+ of .*\(image image-"):
        damaged.__getitems__([EvaluationKey(0, True)])


def test_asked_for_a_single_row_the_error_is_raised(make_rows):
    damaged = training_set(make_rows("train", [1]))
    assert isinstance(damaged[TrainingKey(0, 0)], Sample)
    with pytest.raises(DamagedRowError, match="is damaged"):
        damaged[TrainingKey(0, 1)]
    found = damaged.__getitems__([TrainingKey(0, 0), TrainingKey(0, 1)])
    assert [type(item) for item in found] == [Sample, DamagedRow]


@pytest.mark.promise("Limits: a table that is removed while it is read gives one sentence")
def test_a_table_that_is_removed_while_it_is_read_is_no_damage(tiny):
    import shutil

    datamodule = tiny()
    dataset = training_set(datamodule.rows("train"))
    dataset.__getitems__([TrainingKey(0, 0)])
    shutil.rmtree(datamodule.table.path)
    message = r"tiny.lance was there when it was opened and is not any more: put it back"
    with pytest.raises(DatasetNotFoundError, match=message):
        dataset.__getitems__([TrainingKey(0, row) for row in range(4)])


@pytest.mark.parametrize("lost", [[37], [0], [49], [10, 11]])
def test_a_row_that_cannot_be_read_costs_its_batch_a_few_requests(tmp_path, monkeypatch, lost):
    table = Table(write_synthetic_table(tmp_path / "t.lance", num_images=50))
    take, requests = table._take, []

    def take_most(positions):
        requests.append(positions)
        if set(positions).intersection(lost):
            raise OSError("Input/output error")
        return take(positions)

    monkeypatch.setattr(table, "_take", take_most)
    found = read_around_damage(TableRows(table, np.arange(50)), range(50))
    damaged = [row for row in found if isinstance(row, DamagedRow)]
    assert [row.index for row in damaged] == lost
    assert damaged[0].reason == f"row {lost[0]} of {table} cannot be read: Input/output error"
    assert len(found) == 50
    assert len(requests) <= 1 + 2 * 6 * len(lost)
