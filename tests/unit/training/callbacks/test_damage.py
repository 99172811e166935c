"""Damaged rows are named and counted; many of them end the run."""

import json
import logging

import numpy as np
import pyarrow.parquet as pq
import pytest
from lightning.pytorch import Callback

from syncsam_lightning.data.table import Table
from syncsam_lightning.errors import TableError
from syncsam_lightning.training.callbacks.predictions import PredictionWriter


def damage(datamodule, split, indices):
    """Change a byte in the images of some rows of a split; return their ids."""
    datamodule.prepare_data()
    table = Table(datamodule.table.path)
    rows = table.rows(table.offsets(split)[np.array(indices)])
    files = list((table.path / "data").iterdir())
    for row in rows:
        for file in files:
            content = bytearray(file.read_bytes())
            if (begin := content.find(row.image_frame)) >= 0:
                content[begin + len(row.image_frame) // 2] ^= 1
                file.write_bytes(content)
    return [row.id for row in rows]


class Seen(Callback):
    """Notes the images and what was logged."""

    def __init__(self):
        self.images = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.images.append([info.id for info in batch.infos])


@pytest.mark.promise(
    "Input: damage to a row of a table is noticed, the row is named and the others are used"
)
def test_training_goes_on_without_them_names_each_once_and_logs_the_count(
    discs, task, trainer, tmp_path, caplog
):
    datamodule, seen = discs(batch_size=4), Seen()
    lost = damage(datamodule, "train", [0, 5])
    run = trainer(tmp_path, max_epochs=2, limit_val_batches=0, callbacks=[seen])
    with caplog.at_level(logging.WARNING):
        run.fit(task(), datamodule)
    assert len(seen.images) == 2 * 3
    for epoch in (seen.images[:3], seen.images[3:]):
        images = [name for batch in epoch for name in batch]
        assert len(images) == len(set(images)) == 9
        assert not {*images} & {*lost}
    for name in lost:
        lines = [r.message for r in caplog.records if f"(image {name}) is damaged" in r.message]
        assert len(lines) == 1
        assert lines[0].startswith("left out of the train split: row ")
    assert run.callback_metrics["train/damaged_rows"] == 2


def test_a_test_lists_them_as_not_scored_and_is_complete(discs, task, trainer, tmp_path, capsys):
    datamodule = discs(batch_size=1)
    (lost,) = damage(datamodule, "test", [1])
    trainer(tmp_path).test(task(protocols=["box", "1pt"]), datamodule, verbose=False)
    scored = pq.read_table(tmp_path / "test" / "scores.parquet").to_pylist()
    assert len({row["image_id"] for row in scored}) == 2
    assert lost not in {row["image_id"] for row in scored}
    report = (tmp_path / "test" / "report.md").read_text()
    assert "## Not scored\n\n1 images are not scored:\n\n- row " in report
    assert f"(image {lost}) is damaged" in report
    assert f"(image {lost}) is damaged" in capsys.readouterr().out
    (told,) = json.loads((tmp_path / "test" / "summary.json").read_text())["not_scored"]
    assert f"(image {lost})" in told


def test_a_whole_table_has_nothing_to_tell(discs, task, trainer, tmp_path):
    trainer(tmp_path).test(task(protocols=["box"]), discs(), verbose=False)
    assert "Not scored" not in (tmp_path / "test" / "report.md").read_text()
    assert json.loads((tmp_path / "test" / "summary.json").read_text())["not_scored"] == []


def test_a_prediction_lists_them(discs, task, trainer, tmp_path):
    datamodule = discs(batch_size=2)
    (lost,) = damage(datamodule, "test", [0])
    run = trainer(tmp_path, callbacks=[PredictionWriter(str(tmp_path / "out"))])
    run.predict(task(), datamodule)
    (line,) = (tmp_path / "out" / "not_predicted.txt").read_text().splitlines()
    assert f"(image {lost}) is damaged" in line
    assert len(list((tmp_path / "out").glob("*.png"))) == 2 * 2


def test_a_prediction_without_damage_leaves_no_earlier_list(discs, task, trainer, tmp_path):
    earlier = tmp_path / "out" / "not_predicted.txt"
    earlier.parent.mkdir()
    earlier.write_text("row 0 is damaged\n", "utf-8")
    run = trainer(tmp_path, callbacks=[PredictionWriter(str(earlier.parent))])
    run.predict(task(), discs(batch_size=2))
    assert not earlier.exists()


def test_more_than_the_share_ends_the_run_and_says_so(discs, task, trainer, tmp_path, monkeypatch):
    monkeypatch.setattr("syncsam_lightning.training.callbacks.damage._ALWAYS_ALLOWED", 1)
    allowed = discs(max_damaged=0.2)
    damage(allowed, "train", [0, 5])
    run = trainer(tmp_path, max_epochs=1, limit_val_batches=0)
    run.fit(task(), allowed)
    refused = trainer(tmp_path, max_epochs=1, limit_val_batches=0)
    message = (
        r"^2 rows of the train split are damaged, which is more than data.max_damaged=0.1 allows "
        r"for 11; one of them: row \d+ of .*discs.lance \(image disc-\d+\) is damaged"
    )
    with pytest.raises(TableError, match=message):
        refused.fit(task(), discs(max_damaged=0.1))


def test_ten_always_may(discs, task, trainer, tmp_path):
    datamodule = discs(max_damaged=0)
    damage(datamodule, "train", range(10))
    run = trainer(tmp_path, max_epochs=1, limit_val_batches=0)
    run.fit(task(), datamodule)
    assert run.callback_metrics["train/damaged_rows"] == 10


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_is_a_share(discs, share):
    with pytest.raises(ValueError, match="max_damaged must be a share from 0 to 1"):
        discs(max_damaged=share)
