"""`syncsam export`: the command line around :func:`syncsam_lightning.commands.export.export`."""

from __future__ import annotations

from collections.abc import Sequence

from jsonargparse import ArgumentParser

from syncsam_lightning.cli.command_parser import CommandParser
from syncsam_lightning.commands.export import export


def export_parser() -> ArgumentParser:
    """Return the parser of the command; building it imports neither torch nor Lightning."""
    parser = CommandParser(
        prog="syncsam export",
        form="{names} missing: syncsam export FORMAT CHECKPOINT OUTPUT, where FORMAT is onnx, "
        "torch, safetensors or weights",
        description="Write a trained model as ONNX, as a program of torch.export, as a folder for "
        "the Hugging Face hub, or as weights under official names. What was written is compared "
        "with the model.",
        epilog="example: syncsam export onnx best.ckpt exported --int8 true --table my.lance",
    )
    parser.add_function_arguments(export, as_positional=True, fail_untyped=True)
    return parser


def run_export(args: Sequence[str]) -> int:
    """Parse ``args`` (without the command's name), export, and return the exit status."""
    export(**export_parser().parse_args(list(args)).as_dict())
    return 0
