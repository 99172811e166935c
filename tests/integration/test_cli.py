"""The real program on real slices: fit, resume, test, validate and predict with a tiny model."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from syncsam_lightning.cli.catalog import datamodule_names
from syncsam_lightning.cli.checkpoint_config import checkpoint_config
from syncsam_lightning.cli.lightning_cli import SyncSAMCLI
from syncsam_lightning.cli.main import main

TINY = Path(__file__).parent / "tiny.yaml"


@dataclass(frozen=True)
class Run:
    folder: Path
    table: Path
    checkpoint: Path

    @property
    def log(self) -> Path:
        return self.checkpoint.parents[1]


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(folder):
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of two steps that every test here may read."""
    folder = tmp_path_factory.mktemp("run")
    table = folder / "mni152.lance"
    with inside(folder):
        assert main(["fit", "--config", str(TINY), f"--data.table={table}"]) == 0
    return Run(folder, table, folder / "logs/tiny/version_0/checkpoints/last.ckpt")


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SYNCSAM_DEBUG", raising=False)


def error(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    """Run a command that must fail in one line, and return the line."""
    capsys.readouterr()
    assert main(args) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch):
    """Build everything a command would run, without running it."""
    monkeypatch.setattr(SyncSAMCLI, "_run_subcommand", lambda self, subcommand: None)
    return lambda *args: SyncSAMCLI(args)


# What a run leaves behind


def test_fit_leaves_checkpoints_scalars_and_its_settings(run: Run):
    names = {path.name for path in run.log.rglob("*") if path.is_file()}
    assert {"last.ckpt", "best.ckpt", "run_config.yaml"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)


def test_the_last_checkpoint_is_the_last_whatever_was_best(tmp_path: Path, run: Run):
    one_step = ["--trainer.limit_train_batches=1", "--trainer.val_check_interval=1"]
    epochs = ["--trainer.max_epochs=2", "--trainer.max_steps=-1", "--model.lr=0"]
    args = ["--config", str(TINY), f"--data.table={run.table}", *one_step, *epochs]
    assert main(["fit", *args]) == 0
    folder = tmp_path / "logs/tiny/version_0/checkpoints"
    steps = {
        name: torch.load(folder / name, weights_only=True)["global_step"]
        for name in ("best.ckpt", "last.ckpt")
    }
    assert steps == {"best.ckpt": 1, "last.ckpt": 2}


def test_the_settings_of_a_run_start_it_again(run: Run, build: Any):
    cli = build("fit", "--config", str(run.log / "run_config.yaml"))
    assert cli.trainer.max_steps == 2
    assert cli.datamodule.hparams["table"] == str(run.table)


def test_a_config_that_lies_where_the_settings_go_is_not_overwritten(run: Run, tmp_path: Path):
    text = (run.log / "run_config.yaml").read_text() + "# a comment of mine\n"
    (tmp_path / "run_config.yaml").write_text(text)
    args = ["--trainer.logger=false", "--trainer.limit_val_batches=0"]
    assert main(["fit", "--config", "run_config.yaml", "--checkpoint.monitor=null", *args]) == 0
    assert (tmp_path / "run_config.yaml").read_text() == text


def test_a_checkpoint_holds_plain_values_only(run: Run):
    content = torch.load(run.checkpoint, map_location="cpu", weights_only=True)
    assert content["global_step"] == 2


# A checkpoint alone


@pytest.mark.parametrize("command", ["test", "validate"])
def test_a_checkpoint_alone_is_measured(run: Run, command: str, tmp_path: Path):
    assert main([command, "--ckpt_path", str(run.checkpoint)]) == 0
    assert len(list(tmp_path.rglob("test/report.md"))) == (command == "test")


def test_a_checkpoint_alone_writes_masks(run: Run, tmp_path: Path):
    assert main(["predict", "--ckpt_path", str(run.checkpoint)]) == 0
    assert len(list(tmp_path.rglob("predictions/*.png"))) > 0
    assert len(list(tmp_path.rglob("predictions/predictions.csv"))) == 1


def test_a_checkpoint_rebuilds_the_same_network_and_data(run: Run, build: Any):
    cli = build("test", "--ckpt_path", str(run.checkpoint))
    assert type(cli.datamodule).__name__ == "MNI152"
    assert cli.datamodule.hparams["table"] == str(run.table)
    assert cli.model.network.input_spec.size == 64
    assert cli.datamodule.hparams["image_size"] == 64


def test_the_users_options_win_over_the_checkpoints(run: Run, build: Any):
    saved = checkpoint_config(run.checkpoint)
    assert saved["model"]["lr"] == 0.001
    cli = build("test", "--ckpt_path", str(run.checkpoint), "--model.lr=0.5", "--data.batch_size=3")
    assert cli.model.hparams["lr"] == 0.5
    assert cli.datamodule.hparams["batch_size"] == 3


def test_the_users_options_win_when_a_run_is_resumed(run: Run, build: Any):
    args = ["--config", str(TINY), "--ckpt_path", str(run.checkpoint), "--model.lr=0.25"]
    assert build("fit", *args).model.hparams["lr"] == 0.25


def test_a_config_wins_over_the_checkpoint_too(run: Run, build: Any):
    config = "{model: {lr: 0.125}}"
    cli = build("test", "--ckpt_path", str(run.checkpoint), "--config", config)
    assert cli.model.hparams["lr"] == 0.125


def test_a_run_is_resumed_where_it_stopped(run: Run, tmp_path: Path):
    args = ["--config", str(TINY), f"--data.table={run.table}", "--trainer.max_steps=3"]
    assert main(["fit", *args, "--ckpt_path", str(run.checkpoint)]) == 0
    resumed = tmp_path / "logs/tiny/version_0/checkpoints/last.ckpt"
    assert torch.load(resumed, map_location="cpu", weights_only=True)["global_step"] == 3


# What every run has unless told otherwise


def test_callbacks_logger_and_atomic_checkpoints_are_there_by_default(build: Any):
    cli = build("fit", "--config", str(TINY))
    names = {type(callback).__name__ for callback in cli.trainer.callbacks}
    assert {
        "LearningRateMonitor",
        "BestCheckpoint",
        "ModelCheckpoint",
        "OneRunPerFolder",
        "PeriodicCheckpoint",
        "PredictionPictures",
        "PredictionWriter",
        "ResumeExactly",
        "SaveRunConfig",
        "Throughput",
    } <= names
    assert type(cli.trainer.logger).__name__ == "TensorBoardLogger"
    assert cli.trainer.logger.root_dir == "logs/tiny"
    assert type(cli.trainer.strategy.checkpoint_io).__name__ == "AtomicCheckpointIO"
    assert cli.trainer._accelerator_connector.use_distributed_sampler is False


def test_default_callbacks_are_configured_by_their_own_keys(build: Any):
    cli = build("fit", "--config", str(TINY), "--checkpoint.save_top_k=3")
    assert cli.trainer.checkpoint_callback.save_top_k == 3
    assert cli.trainer.checkpoint_callback.monitor == "val/dice"


def test_without_a_logger_no_callback_asks_for_one(build: Any):
    cli = build("fit", "--config", str(TINY), "--trainer.logger=false")
    assert "LearningRateMonitor" not in {type(c).__name__ for c in cli.trainer.callbacks}


def test_the_size_of_the_images_follows_from_the_network(build: Any):
    cli = build("fit", "--config", str(TINY), "--model.network.image_size=96")
    assert cli.datamodule.hparams["image_size"] == 96


def test_how_images_lie_in_the_square_follows_from_the_network(build: Any):
    assert build("fit", "--config", str(TINY)).datamodule.image_fit == "pad"


# Errors: one sentence that lists the choices


def test_a_contradicting_image_fit_is_refused(capsys: pytest.CaptureFixture[str]):
    assert error(capsys, "fit", "--config", str(TINY), "--data.image_fit=stretch") == (
        "error: data.image_fit is stretch but follows from model.network, which wants pad: "
        "leave data.image_fit out, or set model.network"
    )


def test_a_contradicting_image_size_is_refused(capsys: pytest.CaptureFixture[str]):
    assert error(capsys, "fit", "--config", str(TINY), "--data.image_size=128") == (
        "error: data.image_size is 128 but follows from model.network.image_size, which is 64: "
        "leave data.image_size out, or set model.network.image_size"
    )


def test_choosing_the_best_by_what_is_never_computed_is_refused(
    capsys: pytest.CaptureFixture[str],
):
    assert error(capsys, "fit", "--config", str(TINY), "--trainer.limit_val_batches=0") == (
        "error: checkpoint.monitor is val/dice, which is never computed since "
        "trainer.limit_val_batches is 0: add --checkpoint.monitor null"
    )


def test_a_strategy_that_splits_weights_is_refused(capsys: pytest.CaptureFixture[str]):
    text = error(capsys, "fit", "--config", str(TINY), "--trainer.strategy=fsdp")
    assert text.startswith("error: trainer.strategy is fsdp, which splits the weights over ranks")


def test_settings_that_a_class_refuses_are_told_in_its_words(capsys: pytest.CaptureFixture[str]):
    text = error(capsys, "fit", "--config", str(TINY), "--model.network.vit_depth=5")
    assert text == "error: vit_depth must be a multiple of 4, got 5"


def test_an_equal_image_size_is_accepted(build: Any):
    assert build("fit", "--config", str(TINY), "--data.image_size=64").datamodule is not None


def test_an_unknown_datamodule_lists_the_installed_ones(capsys: pytest.CaptureFixture[str]):
    text = error(capsys, "fit", "--config", str(TINY), "--data", "MNI125")
    assert text.startswith("error: unknown datamodule 'MNI125'; known: ")
    assert all(name in text for name in datamodule_names())


def test_a_wrong_argument_of_a_datamodule_names_the_nearest(capsys: pytest.CaptureFixture[str]):
    assert error(capsys, "fit", "--config", str(TINY), "--data.batchsize=2") == (
        "error: data.batchsize: MNI152 has no argument 'batchsize'; "
        "did you mean batch_size or eval_batch_size?"
    )


def test_a_wrong_argument_of_the_network_names_the_nearest(capsys: pytest.CaptureFixture[str]):
    text = error(capsys, "fit", "--config", str(TINY), "--model.network.fuson=single_step")
    assert text.startswith("error: model.network.fuson: SyncSAM has no argument 'fuson'; did you ")
    assert "fusion" in text


def test_a_wrong_option_of_the_trainer_names_the_nearest(capsys: pytest.CaptureFixture[str]):
    text = error(capsys, "fit", "--config", str(TINY), "--trainer.max_epoch=2")
    assert text.startswith("error: trainer.max_epoch: Trainer has no option 'max_epoch'; did you ")
    assert "max_epochs" in text


def test_a_wrong_key_in_a_config_names_the_nearest(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    settings = yaml.safe_load(TINY.read_text())
    settings["model"]["epsiode"] = settings["model"].pop("episode")
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(settings))
    assert error(capsys, "fit", "--config", "wrong.yaml") == (
        "error: model.epsiode: InteractiveSegmentation has no option 'epsiode'; "
        "did you mean episode?"
    )


def test_a_value_of_the_wrong_type_is_told(capsys: pytest.CaptureFixture[str]):
    text = error(capsys, "fit", "--config", str(TINY), "--data.batch_size=many")
    assert text == "error: data.batch_size: expected an int, got many"


def test_nothing_at_all_is_answered_with_what_to_give(capsys: pytest.CaptureFixture[str]):
    text = error(capsys, "fit")
    assert text.startswith("error: nothing says which network and data to use: add --config FILE")
    assert "resnet34_samed.yaml" in text
    assert "SAMed2D" in text


def test_an_unknown_config_lists_the_packaged_ones(capsys: pytest.CaptureFixture[str]):
    text = error(capsys, "fit", "--config", "resnet43_samed")
    assert "neither a file" in text
    assert "resnet34_samed.yaml" in text


@pytest.mark.parametrize("root", [[], ["--data.root=nowhere"]])
def test_a_missing_release_says_where_it_was_looked_for(
    capsys: pytest.CaptureFixture[str], root: list[str]
):
    options = ["--config", str(TINY), "--data", "SAMed2D", *root]
    text = error(capsys, "fit", *options)
    assert "root" in text
    assert not root or "nowhere" in text


# Plugins of other packages

PLUGIN = '''
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from syncsam_lightning.data.datamodule import PromptableDataModule
from syncsam_lightning.records import DatasetCard, NamedMask, RawSample, Skipped


class AcmeSquares(PromptableDataModule):
    """Grey squares."""

    card = DatasetCard(name="AcmeSquares", description="Grey squares.")

    def records(self, root: Path) -> Iterator[RawSample | Skipped]:
        for number in range(12):
            image = np.zeros((40, 60), np.uint8)
            image[8:24, number : number + 20] = 200
            mask = NamedMask("square", image > 100)
            yield RawSample(f"{number:02d}", image, [mask], "toy", "AcmeSquares", f"c{number}")
'''


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a third-party package in it, installed as pip leaves it."""
    source, site = tmp_path_factory.mktemp("acme"), tmp_path_factory.mktemp("site")
    (source / "acme_squares.py").write_text(PLUGIN)
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools>=77"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "acme-squares"\nversion = "0.1"\n'
        '[project.entry-points."syncsam_lightning.datamodules"]\n'
        'AcmeSquares = "acme_squares:AcmeSquares"\n'
        '[tool.setuptools]\npy-modules = ["acme_squares"]\n'
    )
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(site), str(source)], check=True)
    return site


def program(site: Path, folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, "-m", "syncsam_lightning.cli.main", *args],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_third_party_datamodule_is_listed_without_being_imported(acme: Path, tmp_path: Path):
    result = program(acme, tmp_path, "fit", "--help")
    assert "AcmeSquares" in result.stdout


def test_a_third_party_datamodule_trains_and_is_rebuilt_from_its_checkpoint(
    acme: Path, tmp_path: Path
):
    config = yaml.safe_load(TINY.read_text())
    config["data"] = {
        "class_path": "AcmeSquares",
        "init_args": {"root": ".", "table": "acme.lance", "batch_size": 2, "num_workers": 0},
    }
    (tmp_path / "acme.yaml").write_text(yaml.safe_dump(config))
    fit = program(acme, tmp_path, "fit", "--config", "acme.yaml")
    assert fit.returncode == 0, fit.stderr
    checkpoint = "logs/acme/version_0/checkpoints/last.ckpt"
    test = program(acme, tmp_path, "test", "--ckpt_path", checkpoint)
    assert test.returncode == 0, test.stderr


def test_a_third_party_datamodule_that_is_gone_is_named(acme: Path, tmp_path: Path, run: Run):
    content = torch.load(run.checkpoint, map_location="cpu", weights_only=True)
    content["datamodule_hyper_parameters"]["_class_path"] = "acme_squares.AcmeSquares"
    torch.save(content, tmp_path / "x.ckpt")
    result = program(tmp_path, tmp_path, "test", "--ckpt_path", "x.ckpt")
    assert result.returncode == 2
    assert "error: unknown datamodule 'acme_squares.AcmeSquares'" in result.stderr
    assert "No module named 'acme_squares'" in result.stderr
