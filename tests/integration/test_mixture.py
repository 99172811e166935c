"""A mixture by config alone: trained, rebuilt from its checkpoint, resumed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from syncsam_lightning.cli.main import main

TINY = yaml.safe_load((Path(__file__).parent / "tiny.yaml").read_text())


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    parts = [
        {"class_path": "MNI152", "init_args": {"table": "a.lance", "filter": {"label": "brain"}}},
        {"class_path": "MNI152", "init_args": {"table": "b.lance", "sampling": {"by": "source"}}},
    ]
    options = {"weights": [2, 1], "epoch_size": 12, "batch_size": 2, "num_workers": 0}
    data = {"class_path": "Mixture", "init_args": options | {"parts": parts}}
    Path("mixture.yaml").write_text(yaml.safe_dump(TINY | {"data": data}))
    return "mixture.yaml"


def test_a_mixture_by_config(config: str, capsys: pytest.CaptureFixture[str]):
    assert main(["fit", "--config", config]) == 0
    log = Path("logs/mixture/version_0")
    checkpoint = str(log / "checkpoints" / "last.ckpt")
    settings = yaml.safe_load((log / "run_config.yaml").read_text())["data"]["init_args"]
    assert settings["parts"][0]["init_args"]["filter"]["label"] == "brain"

    assert main(["test", "--ckpt_path", checkpoint, "--trainer.default_root_dir", "tested"]) == 0

    more = ["fit", "--config", config, "--ckpt_path", checkpoint, "--trainer.max_steps", "4"]
    assert main([*more, "--data.weights", json.dumps([1, 1])]) == 2
    assert "filter, sampling or weights differ" in capsys.readouterr().err
    assert main(more) == 0
