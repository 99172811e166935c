"""A checkpoint knows the data sets it was trained on, and a test says which share patients."""

import logging
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from syncsam_lightning.data import PromptableDataModule
from syncsam_lightning.records import DatasetCard, NamedMask, RawSample
from syncsam_lightning.training.callbacks.shared_patients import SharedPatients


def warnings_of(caplog):
    """Return what was warned of, beside what other levels tell."""
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


class Kidneys(PromptableDataModule):
    """Four images of a year's data set."""

    card = DatasetCard("Kidneys", "Made in memory.")
    needs_root = False
    source, split = "KiTS2021", "train"

    def records(self, root: Path):
        for number in range(4):
            yield RawSample(
                f"{self.source}-{number}",
                np.full((8, 8), number + len(self.source), np.uint8),
                [NamedMask("kidney", np.ones((8, 8), bool))],
                modality="ct",
                source=self.source,
                case=f"case_{number:05d}",
                split=self.split,
            )


class LaterKidneys(Kidneys):
    source, split = "KiTS2023", "test"


class Livers(Kidneys):
    source, split = "CHAOS", "test"


@pytest.fixture
def trainer(tmp_path):
    def build(kind, stage, ckpt_path=None):
        table = tmp_path / f"{kind.__name__}.lance"
        datamodule = kind(table=str(table), image_size=8, val_fraction=0, num_workers=0)
        datamodule.prepare_data()
        datamodule.setup(stage)
        state = SimpleNamespace(fn=stage)
        return SimpleNamespace(
            datamodule=datamodule, state=state, is_global_zero=True, ckpt_path=ckpt_path
        )

    return build


def test_a_test_names_the_data_sets_that_share_patients_with_the_training(
    trainer, tmp_path, caplog
):
    # A number of NumPy, which callbacks of one's own leave there, is read as in all checkpoints.
    checkpoint = {"state_dict": {}, "best": np.float64(0.5)}
    SharedPatients().on_save_checkpoint(trainer(Kidneys, "fit"), None, checkpoint)
    path = tmp_path / "best.ckpt"
    torch.save(checkpoint, path)
    SharedPatients().on_test_start(trainer(Livers, "test", str(path)), None)
    assert not warnings_of(caplog)
    SharedPatients().on_test_start(trainer(LaterKidneys, "test", str(path)), None)
    assert "trained on data sets that share patients with those tested" in caplog.text
    assert "KiTS2023 (KiTS2021)" in caplog.text


@pytest.mark.parametrize("content", [None, b"no checkpoint", {}, {"syncsam_trained_on": 3}])
def test_checkpoints_that_say_nothing_are_taken_as_they_are(trainer, tmp_path, caplog, content):
    path = tmp_path / "some.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    SharedPatients().on_test_start(trainer(LaterKidneys, "test", str(path)), None)
    assert not warnings_of(caplog)
