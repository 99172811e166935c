"""Reading options out of an argument list before any parser has seen it."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NEGATIVE_NUMBER = re.compile(r"-\.?\d")


def option_values(args: Sequence[str], *names: str) -> list[str]:
    """Return the values given to an option, in order, for ``--name VALUE`` and ``--name=VALUE``.

    Args:
        args: the argument list.
        names: spellings of the option with their dashes, for example ``"-c", "--config"``.
    """
    values = []
    for index, arg in enumerate(args):
        name, equals, value = arg.partition("=")
        if name not in names:
            continue
        if equals:
            values.append(value)
        elif index + 1 < len(args):
            values.append(args[index + 1])
    return values


def config_values(args: Sequence[str]) -> list[str]:
    """Return what was given to ``--config`` or ``-c``, in order."""
    return option_values(args, "-c", "--config")


def with_negative_values(args: Sequence[str]) -> list[str]:
    """Return ``--name -1,2`` as ``--name=-1,2``: argparse takes whatever begins with - for a name.

    Args:
        args: the argument list, of a command without options such as ``-1``.
    """
    joined: list[str] = []
    for arg in args:
        before = joined[-1] if joined else ""
        if (
            _NEGATIVE_NUMBER.match(arg)
            and before.startswith("--")
            and before != "--"
            and "=" not in before
        ):
            joined[-1] = f"{before}={arg}"
        else:
            joined.append(arg)
    return joined
