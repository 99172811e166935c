"""The paper's networks at full size, through the shipped configs, on samples of the releases."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from syncsam_lightning.cli.main import main

SAMPLES = Path(__file__).parents[3] / "shared" / "data"
WITHOUT_WEIGHTS = ["--model.sam_checkpoint=none", "--model.cnn_weights=none"]
ON_A_CPU = ["--trainer.devices=1", "--trainer.accelerator=cpu", "--trainer.strategy=auto"]
RUNS = [("resnet34_samed", "samed2d", 4), ("resnet50_imed", "imed361m", 2)]


@pytest.mark.slow
@pytest.mark.parametrize(("config", "sample", "batch_size"), RUNS)
def test_three_steps_a_checkpoint_two_more_steps_and_a_test(
    config: str, sample: str, batch_size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    root = SAMPLES / sample
    if not root.is_dir():
        pytest.skip(f"no sample release at {root}")
    monkeypatch.chdir(tmp_path)
    fit = ["fit", "--config", f"{config}.yaml", f"--data.root={root}", *ON_A_CPU, *WITHOUT_WEIGHTS]
    fit += [f"--data.batch_size={batch_size}", "--trainer.num_sanity_val_steps=0"]
    # The three steps are an epoch of their own where the sample has more, so that it is validated.
    fit += ["--trainer.limit_train_batches=3", "--trainer.limit_val_batches=1"]

    assert main([*fit, "--trainer.max_epochs=3", "--trainer.max_steps=3"]) == 0
    last = next(tmp_path.glob(f"logs/{config}/version_0/checkpoints/last.ckpt"))
    saved = torch.load(last, weights_only=True, mmap=True)
    assert saved["global_step"] == 3
    assert saved["frozen_checksum"]
    assert not any("image_encoder.vit" in key for key in saved["state_dict"])

    resume = ["--trainer.max_epochs=9", "--trainer.max_steps=5", f"--ckpt_path={last}"]
    assert main([*fit, *resume]) == 0
    resumed = next(tmp_path.glob(f"logs/{config}/version_1/checkpoints/last.ckpt"))
    assert torch.load(resumed, weights_only=True, mmap=True)["global_step"] == 5

    assert main(["test", "--ckpt_path", str(resumed)]) == 0
    scores = next(tmp_path.glob("logs/**/test/scores.parquet"))
    rows = pq.read_table(scores).to_pylist()
    assert {row["protocol"] for row in rows} == {"box", "1pt", "5pts"}
    assert all(0 <= row["dice"] <= 1 for row in rows)
