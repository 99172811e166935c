"""What follows from a command line, without running it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from syncsam_lightning.cli.lightning_cli import SyncSAMCLI

TINY = Path(__file__).parents[2] / "integration" / "tiny.yaml"


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., SyncSAMCLI]:
    """Build everything that `syncsam fit` on the tiny config would run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(SyncSAMCLI, "_run_subcommand", lambda self, subcommand: None)
    return lambda *args: SyncSAMCLI(["fit", "--config", str(TINY), *args])


def seeds(cli: Any) -> tuple[int, int]:
    return cli.model.seed, cli.datamodule.seed


def test_the_root_that_is_given_takes_the_place_of_logs(build: Any):
    cli = build("--trainer.default_root_dir=here")
    assert cli.trainer.logger.root_dir == "here/tiny"
    own = ["--trainer.logger=CSVLogger", "--trainer.logger.save_dir=there"]
    cli = build("--trainer.default_root_dir=here", *own)
    assert cli.trainer.logger.save_dir == "there"


@pytest.mark.promise("Numbers: every result names the seeds that it came from")
@pytest.mark.parametrize(
    ("args", "found"),
    [
        ([], (42, 42)),
        (["--seed_everything=7"], (7, 7)),
        (["--seed_everything=7", "--data.seed=3"], (7, 3)),
        (["--seed_everything=7", "--model.seed=0"], (0, 7)),
        (["--config", "{seed_everything: 8, data: {init_args: {seed: 1}}}"], (8, 1)),
        (["--seed_everything=false"], (0, 0)),
    ],
)
def test_seeds_follow_seed_everything_unless_given(
    build: Any, args: list[str], found: tuple[int, int]
):
    assert seeds(build(*args)) == found


def test_the_seeds_of_a_checkpoint_are_kept_when_it_is_measured(
    build: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    cli = build("--seed_everything=7")
    content = {
        "state_dict": cli.model.state_dict(),
        "pytorch-lightning_version": "2.6.0",
        "hyper_parameters": dict(cli.model.hparams),
        "datamodule_hyper_parameters": dict(cli.datamodule.hparams),
    }
    torch.save(content, tmp_path / "x.ckpt")
    cli = SyncSAMCLI(["test", "--ckpt_path", str(tmp_path / "x.ckpt"), "--seed_everything=9"])
    assert seeds(cli) == (7, 7)
