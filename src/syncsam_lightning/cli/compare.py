"""`syncsam compare`: the command line around :func:`syncsam_lightning.commands.compare.compare`."""

from __future__ import annotations

from collections.abc import Sequence

from jsonargparse import ArgumentParser

from syncsam_lightning.cli.command_parser import CommandParser
from syncsam_lightning.commands.compare import compare


def compare_parser() -> ArgumentParser:
    """Return the parser of the command; building it imports no more than jsonargparse."""
    parser = CommandParser(
        prog="syncsam compare",
        form="nothing to compare: syncsam compare NAME=FOLDER NAME=FOLDER ..., where FOLDER is "
        "what `syncsam test` wrote",
        description="Put evaluated models side by side, on the masks that all of them have: tables "
        "in Markdown, CSV and LaTeX with intervals and paired tests, and drawings.",
        epilog="example: syncsam compare SAM=logs/sam/test SyncSAM=logs/run1/test "
        "SyncSAM=logs/run2/test --output compare --paper table2",
    )
    parser.add_argument(
        "results",
        nargs="+",
        type=str,
        metavar="NAME=FOLDER",
        help="folders that `syncsam test` wrote, with a name or without; folders of one name are "
        "several runs of one model",
    )
    parser.add_function_arguments(compare, skip={"results"}, fail_untyped=True)
    return parser


def run_compare(args: Sequence[str]) -> int:
    """Parse ``args`` (without the command's name), compare, and return the exit status."""
    settings = compare_parser().parse_args(list(args))
    compare(**settings.as_dict())
    return 0
