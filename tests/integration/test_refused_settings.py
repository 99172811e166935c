"""Settings that the training can't take: one sentence, before anything is computed."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncsam_lightning.cli.main import main

TINY = Path(__file__).with_name("tiny.yaml")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--model.compile=eager", "--model.network.recompute=[cnn]"],
            "error: recompute names 'cnn', whose BatchNorm can't be recomputed inside "
            "torch.compile: take 'cnn' out of recompute, or do without compiling",
        ),
        *(
            (
                [f"--trainer.precision={precision}"],
                f"error: trainer.precision is {precision}, but SyncSAM keeps its weights in "
                "float32: choose from 32-true, bf16-mixed, 16-mixed",
            )
            for precision in ("64-true", "64", "bf16-true", "16-true")
        ),
        (["--model.lr=-1"], "error: lr must be a finite number of 0 or more, got -1.0"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_setting_that_training_can_not_take_is_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    sentence: str,
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SYNCSAM_DEBUG", raising=False)
    assert main(["fit", "--config", str(TINY), *options]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert errors == [sentence]
