"""Rates are means over a window of batches, without the time of validation."""

import csv
import types

import pytest
from lightning.pytorch.loggers import CSVLogger

from syncsam_lightning.data.batch import ImageBatch
from syncsam_lightning.training.callbacks import throughput
from syncsam_lightning.training.callbacks.throughput import Throughput


class Clock:
    now = 100.0

    def perf_counter(self):
        return self.now


class Module:
    def log_dict(self, values, **kwargs):
        self.last = values


def batch_of(images, masks):
    batch = object.__new__(ImageBatch)
    shape = types.SimpleNamespace(shape=(images,))
    object.__setattr__(batch, "images", shape)
    object.__setattr__(batch, "targets", types.SimpleNamespace(num_objects=masks))
    return batch


@pytest.fixture
def play(monkeypatch):
    clock, module = Clock(), Module()
    monkeypatch.setattr(throughput, "time", clock)
    trainer = types.SimpleNamespace(world_size=2)

    def run(callback, *steps):
        callback.on_train_start(trainer, module)
        for number, step in enumerate(steps):
            if step == "validate":
                callback.on_validation_start(trainer, module)
                clock.now += 1000
                callback.on_validation_end(trainer, module)
            else:
                clock.now += step
                callback.on_train_batch_end(trainer, module, None, batch_of(4, 20), number)
        return module.last

    return run


def test_rates_count_all_ranks(play):
    assert play(Throughput(), 2.0, 2.0) == {"train/images_per_s": 4, "train/masks_per_s": 20}


def test_the_time_of_validation_does_not_count(play):
    assert play(Throughput(), 2.0, "validate", 2.0)["train/images_per_s"] == 4


def test_batches_before_the_window_do_not_count(play):
    assert play(Throughput(window=2), 50.0, 1.0, 1.0)["train/images_per_s"] == 8


def test_a_window_of_nothing_is_refused():
    with pytest.raises(ValueError, match="window must be at least 1, got 0"):
        Throughput(0)


@pytest.mark.parametrize(("every", "written"), [(4, 2), (1, 9), (0, 0)])
def test_rates_are_written_however_short_the_epochs(discs, task, trainer, tmp_path, every, written):
    logger = CSVLogger(tmp_path)
    trainer(
        tmp_path,
        max_epochs=3,
        limit_val_batches=0,
        logger=logger,
        log_every_n_steps=every,
        callbacks=[Throughput()],
    ).fit(task(), discs(batch_size=4))
    path = tmp_path / "lightning_logs" / "version_0" / "metrics.csv"
    rows = list(csv.DictReader(path.open())) if path.exists() else []
    assert len([row for row in rows if float(row.get("train/images_per_s") or 0) > 0]) == written
