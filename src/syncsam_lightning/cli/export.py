"""`syncsam export`: the command line around :func:`syncsam_lightning.commands.export.export`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NoReturn

from jsonargparse import ArgumentParser

from syncsam_lightning.cli.explain import Choices, UsageError, explain
from syncsam_lightning.cli.given import GivenSettings
from syncsam_lightning.commands.export import export


class _Parser(ArgumentParser):
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if not self.exit_on_error:
            super().error(message, ex)
        if match := re.search(r"arguments are required: (.+)", message):
            raise UsageError(
                f"{match[1]} missing: syncsam export FORMAT CHECKPOINT OUTPUT, where FORMAT is "
                "onnx, torch, safetensors or weights"
            ) from ex
        keys = [action.dest for action in self._actions]
        raise explain(message, GivenSettings([]), Choices(keys=keys)) from ex


def export_parser() -> ArgumentParser:
    """Return the parser of the command; building it imports neither torch nor Lightning."""
    parser = _Parser(
        prog="syncsam export",
        description="Write a trained model as ONNX, as a program of torch.export, as a folder for "
        "the Hugging Face hub, or as weights under official names. What was written is compared "
        "with the model.",
        epilog="example: syncsam export onnx best.ckpt exported --int8 true --table my.lance",
    )
    parser.allow_abbrev = False
    parser.add_function_arguments(export, as_positional=True, fail_untyped=True)
    return parser


def run_export(args: Sequence[str]) -> int:
    """Parse ``args`` (without the command's name), export, and return the exit status."""
    export(**export_parser().parse_args(list(args)).as_dict())
    return 0
