from __future__ import annotations

import pytest

from syncsam_lightning.cli.catalog import datamodule_names, packaged_configs
from syncsam_lightning.cli.guides import COMMANDS, GUIDES, TRAINER_COMMANDS, guide


@pytest.mark.parametrize("command", TRAINER_COMMANDS)
def test_a_guide_fits_on_a_screen(command: str):
    lines = guide(command).splitlines()
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("command", TRAINER_COMMANDS)
def test_a_guide_names_configs_datamodules_and_the_ways_to_see_more(command: str):
    text = guide(command)
    for word in [*packaged_configs(), *datamodule_names()]:
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
