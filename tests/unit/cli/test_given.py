from __future__ import annotations

from pathlib import Path

import pytest

from syncsam_lightning.cli.given import GivenSettings, InvalidConfigError

CONFIG = """
data:
  class_path: SAMed2D
  init_args: {batch_size: 50}
model:
  network: {class_path: SyncSAM, init_args: {cnn: resnet34}}
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "run.yaml"
    path.write_text(CONFIG)
    return str(path)


def test_keys_leave_out_init_args_wherever_they_were_given(config: str):
    given = GivenSettings(["fit", "--config", config, "--data.init_args.root", "x", "--seed=3"])
    assert {"data.batch_size", "data.root", "model.network.cnn", "seed"} <= given.keys()


def test_the_command_line_wins_over_a_config(config: str):
    args = ["fit", "--config", config, "--data.batch_size=2"]
    assert GivenSettings(args).value("data.batch_size") == 2
    assert GivenSettings(args[:3]).value("data.batch_size") == 50


def test_a_later_config_wins_over_an_earlier_one(config: str):
    later = '{"data": {"init_args": {"batch_size": 7}}}'
    given = GivenSettings(["fit", "--config", config, "--config", later])
    assert given.value("data.batch_size") == 7


def test_what_was_not_given_has_no_value(config: str):
    given = GivenSettings(["fit", "--config", config])
    assert given.value("data.table") is None
    assert given.value("trainer.max_epochs") is None


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], "SAMed2D"),
        (["--data", "MNI152"], "MNI152"),
        (["--data.class_path", "a.b.C"], "a.b.C"),
    ],
)
def test_the_class_that_was_chosen_last_is_known(config: str, args: list[str], expected: str):
    assert GivenSettings(["fit", "--config", config, *args]).class_name("data") == expected


def test_a_nested_class_is_known(config: str):
    assert GivenSettings(["fit", "--config", config]).class_name("model.network") == "SyncSAM"


def test_broken_yaml_is_told_with_its_file_and_position(tmp_path: Path):
    path = tmp_path / "broken.yaml"
    path.write_text("data: {a: 1")
    with pytest.raises(InvalidConfigError, match=r"broken\.yaml is not valid YAML.* line 1"):
        GivenSettings(["fit", "--config", str(path)])
