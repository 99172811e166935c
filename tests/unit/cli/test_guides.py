from __future__ import annotations

import pytest
import yaml

from syncsam_lightning.cli.catalog import datamodule_names, listed_configs
from syncsam_lightning.cli.guides import COMMANDS, GUIDES, TRAINER_COMMANDS, guide
from syncsam_lightning.cli.main import main


@pytest.mark.parametrize("command", TRAINER_COMMANDS)
def test_a_guide_fits_on_a_screen(command: str):
    lines = guide(command).splitlines()
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("command", TRAINER_COMMANDS)
def test_a_guide_names_configs_datamodules_and_the_ways_to_see_more(command: str):
    text = guide(command)
    for word in [*listed_configs(), *datamodule_names()]:
        assert word in text
    for option in ("--help_all", "--data.help CLASS", "--print_config"):
        assert option in text


@pytest.mark.parametrize("command", TRAINER_COMMANDS)
def test_every_example_is_a_command_line_of_its_command(command: str):
    assert GUIDES[command].examples
    assert all(line.startswith(f"syncsam {command} ") for line in GUIDES[command].examples)


def test_every_lightning_command_has_a_guide():
    assert set(GUIDES) == set(TRAINER_COMMANDS)
    assert set(TRAINER_COMMANDS) <= set(COMMANDS)


@pytest.mark.parametrize("command", TRAINER_COMMANDS)
def test_every_option_of_a_guide_exists_with_the_default_it_states(
    command: str, capsys: pytest.CaptureFixture[str]
):
    config = "{model: {network: SyncSAM}, data: MaskFolder}"
    with pytest.raises(SystemExit):
        main([command, "--config", config, "--print_config"])
    settings = yaml.safe_load(capsys.readouterr().out)
    for option in GUIDES[command].options:
        if option.name in ("--config", "--data"):
            continue
        value = settings
        for part in option.name.removeprefix("--").split("."):
            value = value.get("init_args", value)
            assert part in value, option.name
            value = value[part]
        if option.default is not None:
            assert str(value) == option.default, option.name
