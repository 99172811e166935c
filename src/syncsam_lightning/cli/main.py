"""Entry point of ``syncsam``: picks the command and imports no more than it needs.

Importing torch and Lightning takes seconds, so the help of every command is answered before
either is imported.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Sequence

from syncsam_lightning import __version__
from syncsam_lightning.cli.arguments import config_values
from syncsam_lightning.cli.catalog import resolve_config
from syncsam_lightning.cli.guides import COMMANDS, TRAINER_COMMANDS, guide
from syncsam_lightning.cli.messages import show_messages
from syncsam_lightning.errors import SyncSAMError

EXIT_USER_ERROR = 2
"""Exit status when the user can mend what is wrong; the same as argparse's for wrong usage."""


EXIT_INTERRUPTED = 128 + signal.SIGINT
"""What a shell reports of a program that Ctrl-C ended."""

_AFTERWARDS = {
    "prepare": ": the same command goes on from what is finished",
    "fit": ": --ckpt_path last goes on from the newest checkpoint",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments without the program's name; None takes those of the process.

    Returns:
        the exit status: 0; 2 when an error was printed that the user can mend; 130 after Ctrl-C.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in args or os.environ.get("SYNCSAM_DEBUG", "") not in ("", "0")
    args = [arg for arg in args if arg != "--debug"]
    if "" not in sys.path:
        # Classes of one's own are found in the working folder, but win over nothing installed.
        sys.path.append("")
    try:
        return _dispatch(args)
    except (KeyboardInterrupt, SystemExit) as leave:
        # Lightning catches Ctrl-C itself, shuts down in good order and exits with status 1.
        if isinstance(leave, SystemExit) and not isinstance(leave.__context__, KeyboardInterrupt):
            raise
        if debug:
            traceback.print_exc()
        print("\ninterrupted" + _AFTERWARDS.get(next(iter(args), ""), ""), file=sys.stderr)
        return EXIT_INTERRUPTED
    except (SyncSAMError, OSError) as error:
        if isinstance(error, OSError) and error.filename is None:
            raise  # not about a place that the user named
        if debug:
            traceback.print_exc()
        sys.stdout.flush()
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR


def _dispatch(args: list[str]) -> int:
    if args and args[0] == "predict":
        from syncsam_lightning.cli.predict import is_about_files, run_predict

        if is_about_files(args[1:]):
            show_messages()
            return run_predict(args[1:])
    if args and args[0] in TRAINER_COMMANDS:
        return _run_trainer_command(args)
    if args and args[0] == "prepare":
        from syncsam_lightning.cli.prepare import run_prepare

        show_messages()
        return run_prepare(args[1:])
    if args and args[0] == "compare":
        from syncsam_lightning.cli.compare import run_compare

        return run_compare(args[1:])
    if args and args[0] == "export":
        from syncsam_lightning.cli.export import run_export

        show_messages()
        return run_export(args[1:])
    _top_parser().parse_args(args)
    return 0


def _run_trainer_command(args: list[str]) -> int:
    if any(arg in ("-h", "--help") for arg in args[1:]):
        print(guide(args[0]))
        return 0
    for value in config_values(args):
        resolve_config(value)  # a misspelt name is told at once, not after seconds of imports
    show_messages()
    from syncsam_lightning.cli.lightning_cli import SyncSAMCLI
    from syncsam_lightning.training.lost_processes import lost_processes_told

    with lost_processes_told():
        SyncSAMCLI(args=["--help" if arg == "--help_all" else arg for arg in args])
    return 0


def _top_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "syncsam",
        description="Train, measure and use SyncSAM, a promptable medical segmentation model.",
        epilog="`syncsam COMMAND --help` explains a command. With --debug, or SYNCSAM_DEBUG=1 in "
        "the environment, errors come with their traceback.",
    )
    parser.add_argument("--version", action="version", version=f"syncsam-lightning {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        commands.add_parser(name, help=summary, add_help=False)
    return parser


if __name__ == "__main__":
    sys.exit(main())
