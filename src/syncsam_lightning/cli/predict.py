"""`syncsam predict PATH...`: the command line around ``commands.predict``."""

from __future__ import annotations

from collections.abc import Sequence

from jsonargparse import ArgumentParser

from syncsam_lightning.cli.arguments import option_values, with_negative_values
from syncsam_lightning.cli.command_parser import CommandParser
from syncsam_lightning.commands.predict import predict_files

_ONLY_FOR_FILES = ("--prompts", "--box", "--points", "--output")


def is_about_files(args: Sequence[str]) -> bool:
    """Whether arguments of ``predict`` are about files rather than about a prepared table.

    They are if they begin with a path, or hold an option that tables know nothing of.

    Args:
        args: what follows the command's name.
    """
    begins_with_path = bool(args) and not args[0].startswith("-")
    return begins_with_path or bool(option_values([*args, ""], *_ONLY_FOR_FILES))


def predict_parser() -> ArgumentParser:
    """Return the parser of the command; building it imports neither torch nor Lightning."""
    parser = CommandParser(
        prog="syncsam predict",
        form="missing: syncsam predict PATH... --ckpt_path FILE, with --prompts FILE or --box "
        "x0,y0,x1,y1; `syncsam predict PATH --help` explains them",
        description="Segment images, folders, NIfTI volumes and DICOM series by prompts. Each "
        "object becomes a mask: PNG for images, NIfTI or DICOM SEG for volumes.",
        epilog="example: syncsam predict scan.nii.gz --ckpt_path best.ckpt --slice 40 "
        "--box 30,40,90,110 --window soft_tissue --output masks",
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="images, volumes, folders")
    parser.add_function_arguments(predict_files, skip={"paths"}, fail_untyped=True)
    return parser


def run_predict(args: Sequence[str]) -> int:
    """Parse ``args`` (without the command's name), segment, and return the exit status."""
    settings = predict_parser().parse_args(with_negative_values(args))
    predict_files(**settings.as_dict())
    return 0
