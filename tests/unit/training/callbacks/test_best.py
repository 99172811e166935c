"""A restart doesn't forget the best checkpoint before it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel

from syncsam_lightning.training.callbacks.best import BestCheckpoint


class Scored(BoringModel):
    """Is given the score of every epoch."""

    def __init__(self, scores: Sequence[float]) -> None:
        super().__init__()
        self.scores = scores

    def on_validation_epoch_end(self) -> None:
        self.log("score", self.scores[self.current_epoch])


def fit(folder: Path, scores: Sequence[float], ckpt_path: Path | None = None) -> BestCheckpoint:
    best = BestCheckpoint(folder, "best", "score", mode="max", enable_version_counter=False)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=len(scores),
        limit_train_batches=1,
        limit_val_batches=1,
        num_sanity_val_steps=0,
        callbacks=[best],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Scored(scores), ckpt_path=ckpt_path, weights_only=True)
    trainer.save_checkpoint(folder / "last.ckpt")
    return best


def epoch_of(path: Path) -> int:
    return int(torch.load(path, weights_only=True)["epoch"])


@pytest.mark.promise("Resume: the best checkpoint is that of the whole run, not of its last start")
def test_after_a_restart_only_a_better_one_is_kept(tmp_path: Path):
    first, second, third = (tmp_path / name for name in "abc")
    fit(first, [0.5, 0.8])
    kept = fit(second, [0.5, 0.8, 0.6, 0.7], first / "last.ckpt")
    assert not (second / "best.ckpt").exists()
    assert Path(kept.best_model_path) == first / "best.ckpt"
    assert kept.best_model_score == pytest.approx(0.8)
    better = fit(third, [0.5, 0.8, 0.6, 0.7, 0.9, 0.85], second / "last.ckpt")
    assert Path(better.best_model_path) == third / "best.ckpt"
    assert epoch_of(third / "best.ckpt") == 4
    assert epoch_of(first / "best.ckpt") == 1  # files of earlier starts are left alone


def test_one_whose_file_is_gone_is_forgotten(tmp_path: Path):
    fit(tmp_path / "a", [0.8])
    (tmp_path / "a" / "best.ckpt").unlink()
    kept = fit(tmp_path / "b", [0.8, 0.6], tmp_path / "a" / "last.ckpt")
    assert Path(kept.best_model_path) == tmp_path / "b" / "best.ckpt"


def test_the_end_of_a_fit_tells_where_the_best_lies(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level("INFO"):
        fit(tmp_path, [0.5, 0.25])
    assert f"the best checkpoint of the run, with score 0.5000: {tmp_path}/best.ckpt" in caplog.text
