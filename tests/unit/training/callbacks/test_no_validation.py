"""A run without validation is told so before its first step."""

from types import SimpleNamespace

import pytest
from lightning.pytorch.callbacks import EarlyStopping

from syncsam_lightning.errors import NoValidationError
from syncsam_lightning.training.callbacks.no_validation import NoValidation


def setup(datamodule, *callbacks, limit=1.0, stage="fit"):
    trainer = SimpleNamespace(
        datamodule=datamodule, callbacks=list(callbacks), limit_val_batches=limit
    )
    NoValidation().setup(trainer, None, stage)


@pytest.fixture
def data(discs):
    datamodule = discs()
    datamodule.prepare_data()
    datamodule.setup("fit")
    return datamodule


def test_stopping_by_validation_needs_validation(data, caplog):
    stopping = EarlyStopping("val/dice")
    setup(data, stopping)
    assert not caplog.text
    setup(data, stopping, limit=0, stage="test")
    with pytest.raises(NoValidationError, match="EarlyStopping watches val/dice, but nothing is"):
        setup(data, stopping, limit=0)
    data._rows = {**data._rows, "val": []}
    with pytest.raises(NoValidationError, match=r"--trainer\.callbacks null"):
        setup(data, stopping)


def test_without_validation_the_best_checkpoint_is_missing_and_that_is_told(data, caplog):
    setup(data, EarlyStopping("train/loss"), limit=0)
    assert "best.ckpt is not written" in caplog.text


def test_data_of_another_kind_are_left_alone(caplog):
    setup(object(), EarlyStopping("val/dice"), limit=0)
    assert not caplog.text
