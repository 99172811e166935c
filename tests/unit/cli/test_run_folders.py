"""Where a run writes to is where its next start looks for checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncsam_lightning.cli.given import GivenSettings
from syncsam_lightning.cli.run_folders import checkpoint_folders, output_root

LOGGER = "{trainer: {logger: {class_path: TensorBoardLogger, init_args: {save_dir: s, name: n}}}}"


@pytest.mark.parametrize(
    ("args", "root"),
    [
        ([], "logs"),
        (["--trainer.default_root_dir", "here"], "here"),
        (["--config", "{trainer: {default_root_dir: 7}}"], "7"),
        (["--config", "{trainer: {default_root_dir: a}}", "--trainer.default_root_dir=b"], "b"),
        (["--trainer.default_root_dir", "null"], "logs"),
    ],
)
def test_the_root_is_what_is_given(args: list[str], root: str):
    assert output_root(GivenSettings(["fit", *args])) == root


@pytest.mark.parametrize(
    ("args", "folders"),
    [
        ([], ["logs/tiny"]),
        (["--trainer.default_root_dir", "here"], ["here/tiny"]),
        (["--trainer.logger.name", "other"], ["logs/other"]),
        (["--config", LOGGER, "--trainer.default_root_dir", "here"], ["s/n"]),
        (["--trainer.logger", "false"], ["checkpoints"]),
        (["--trainer.logger=false", "--trainer.default_root_dir=here"], ["here/checkpoints"]),
        (["--checkpoint.dirpath", "best"], ["best", "logs/tiny"]),
        (["--checkpoint.dirpath=all", "--last_checkpoint.dirpath=all"], ["all"]),
    ],
)
def test_checkpoints_are_looked_for_where_the_settings_put_them(
    args: list[str], folders: list[str]
):
    found = checkpoint_folders(GivenSettings(["fit", *args]), "tiny")
    assert found == [Path(folder) for folder in folders]


def test_a_run_without_a_name_is_looked_for_in_all():
    assert checkpoint_folders(GivenSettings(["test"]), None) == [Path("logs")]
