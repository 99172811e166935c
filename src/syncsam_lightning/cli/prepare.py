"""`syncsam prepare`: the command line around :func:`syncsam_lightning.commands.prepare.prepare`."""

from __future__ import annotations

from collections.abc import Sequence

from jsonargparse import ArgumentParser

from syncsam_lightning.cli.catalog import datamodule_names
from syncsam_lightning.cli.command_parser import CommandParser
from syncsam_lightning.cli.plugin_options import PluginOptions
from syncsam_lightning.commands.prepare import check_options, prepare

_FILTER = "--data.filter"


def prepare_parser() -> ArgumentParser:
    """Return the parser of the command; building it imports neither torch nor Lightning."""
    parser = CommandParser(
        prog="syncsam prepare",
        form="{names} missing: syncsam prepare PLUGIN SOURCE TABLE, where PLUGIN is one of "
        f"{', '.join(datamodule_names()) or 'none installed'}",
        description="Convert a raw release into the table that training, testing and prediction "
        "read. What cannot be used is listed in NAME.skipped.jsonl beside the table.",
        epilog=f"installed datamodules: {', '.join(datamodule_names()) or 'none'}; example: "
        "syncsam prepare SAMed2D SA-Med2D-20M samed2d.lance --workers 16",
    )
    parser.add_function_arguments(prepare, as_positional=True, fail_untyped=True)
    return parser


def run_prepare(args: Sequence[str]) -> int:
    """Parse ``args`` (without the command's name), convert, and return the exit status."""
    others, options = PluginOptions.split_off(args)
    # The settings of a filter go by the name that they have in every other command.
    others = [
        f"--filter{arg.removeprefix(_FILTER)}" if arg.startswith(_FILTER) else arg for arg in others
    ]
    settings = prepare_parser().parse_args(others).as_dict()
    if names := options.names():
        # Only here: a datamodule brings torch with it.
        from syncsam_lightning.data.plugins import find_datamodule

        datamodule = find_datamodule(settings["plugin"])
        check_options(datamodule, names)
        settings["options"] = (settings["options"] or {}) | options.values(datamodule)
    prepare(**settings)
    return 0
