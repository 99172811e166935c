"""Instance maps from the files to the report of a test, 300 objects on each image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from syncsam_lightning.cli.main import main

TINY = Path(__file__).with_name("tiny.yaml")
COUNT = 300


def test_three_hundred_instances_are_trained_on_and_tested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for part in ("images", "masks"):
            (tmp_path / "cells" / split / part).mkdir(parents=True)
        for number in range(4 if split == "train" else 2):
            values = np.zeros(18 * 18, np.uint16)
            values[:COUNT] = 1 + rng.permutation(COUNT) + 1000 * number
            labels = np.kron(values.reshape(18, 18), np.pad(np.ones((4, 4), np.uint16), (0, 1)))
            pixels = rng.integers(0, 256, labels.shape, np.uint8)
            for part, array in (("images", pixels), ("masks", labels)):
                Image.fromarray(array).save(
                    tmp_path / "cells" / split / part / f"{split}{number}.png"
                )
    data = ["--data", "MaskFolder", "--data.root", "cells", "--data.instance_label", "cell"]
    assert main(["fit", "--config", str(TINY), *data, "--data.table", "cells.lance"]) == 0
    words = ["test", "--ckpt_path", "last", "--trainer.limit_test_batches", "1.0"]
    assert main(words) == 0
    (path,) = tmp_path.rglob("scores.parquet")
    scores = pd.read_parquet(path)
    assert set(scores["label"]) == {"cell"}
    assert scores.groupby("image_id")["mask_id"].nunique().tolist() == [COUNT, COUNT]
    assert Path("cells.skipped.jsonl").read_text() == ""
