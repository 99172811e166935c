"""`syncsam prepare`: the command line around :func:`syncsam_lightning.commands.prepare.prepare`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn

from jsonargparse import ArgumentParser

from syncsam_lightning.cli.catalog import datamodule_names
from syncsam_lightning.cli.explain import Choices, UsageError, explain
from syncsam_lightning.cli.given import GivenSettings
from syncsam_lightning.cli.plugin_options import PluginOptions
from syncsam_lightning.commands.prepare import check_options, prepare


class _Parser(ArgumentParser):
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if not self.exit_on_error:
            super().error(message, ex)
        if match := re.search(r"arguments are required: (.+)", message):
            raise UsageError(
                f"{match[1]} missing: syncsam prepare PLUGIN SOURCE TABLE, where PLUGIN is one of "
                f"{', '.join(datamodule_names()) or 'none installed'}"
            ) from ex
        keys = [action.dest for action in self._actions]
        raise explain(message, GivenSettings([]), Choices(keys=keys)) from ex


def prepare_parser() -> ArgumentParser:
    """Return the parser of the command; building it imports neither torch nor Lightning."""
    parser = _Parser(
        prog="syncsam prepare",
        description="Convert a raw release into the table that training, testing and prediction "
        "read. What cannot be used is listed in NAME.skipped.jsonl beside the table.",
        epilog=f"installed datamodules: {', '.join(datamodule_names()) or 'none'}; example: "
        "syncsam prepare SAMed2D SA-Med2D-20M samed2d.lance --workers 16",
    )
    parser.allow_abbrev = False
    parser.add_function_arguments(prepare, as_positional=True, fail_untyped=True)
    return parser


def run_prepare(args: Sequence[str]) -> int:
    """Parse ``args`` (without the command's name), convert, and return the exit status."""
    others, options = PluginOptions.split_off(args)
    settings = prepare_parser().parse_args(others).as_dict()
    if names := options.names():
        # Only here: a datamodule brings torch with it.
        from syncsam_lightning.data.plugins import find_datamodule

        datamodule = find_datamodule(settings["plugin"])
        check_options(datamodule, names)
        settings["options"] = (settings["options"] or {}) | options.values(datamodule)
    prepare(**settings)
    return 0
