"""What a run that goes on from a checkpoint does otherwise is told, and other data are refused."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from syncsam_lightning.data.resume import ResumeError
from syncsam_lightning.training.callbacks.changed_settings import ChangedSettings, differences

MODEL = {"lr": 1e-4, "lr_milestones": [5, 10], "episode": {"iterations": 8, "schedule": "joint"}}
DATA = {"_class_path": "plugins.Mine", "batch_size": 4, "num_workers": 2, "root": "here"}


def load(model: Any, data: Any, stage: str = "fit") -> None:
    trainer: Any = SimpleNamespace(
        state=SimpleNamespace(fn=stage), datamodule=SimpleNamespace(hparams=DATA | data)
    )
    module: Any = SimpleNamespace(hparams=MODEL | model)
    checkpoint = {"hyper_parameters": MODEL, "datamodule_hyper_parameters": DATA}
    ChangedSettings().on_load_checkpoint(trainer, module, checkpoint)


def test_a_changed_rate_stays_the_checkpoint_s_and_other_changes_count(caplog):
    episode = {"iterations": 8, "schedule": "per_round"}
    with caplog.at_level(logging.WARNING):
        load({"lr": 0.1, "episode": episode}, {"batch_size": 3})
    batch, schedule, rate = caplog.messages
    assert batch.startswith("data.batch_size was 4 in the run that wrote the checkpoint and is 3")
    assert batch.endswith("the new value counts from here on")
    assert schedule.startswith("model.episode.schedule was joint")
    assert rate.startswith("model.lr was 0.0001")
    assert "the checkpoint's value counts" in rate


def test_where_things_lie_and_how_fast_they_go_is_of_no_account(caplog):
    load({"lr_milestones": (5, 10)}, {"root": "there", "num_workers": 0})
    assert caplog.messages == []


def test_another_datamodule_is_refused():
    with pytest.raises(ResumeError, match=r"trained on plugins.Mine, this one has plugins.Other"):
        load({}, {"_class_path": "plugins.Other"})


def test_measuring_compares_nothing(caplog):
    load({"lr": 0.1}, {"_class_path": "plugins.Other"}, stage="test")
    assert caplog.messages == []


def test_what_only_one_version_knows_is_not_compared():
    assert list(differences({"a": 1, "b": 2}, {"b": 2, "c": 3}, "model")) == []
