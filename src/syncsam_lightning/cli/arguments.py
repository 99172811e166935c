"""Reading options out of an argument list before any parser has seen it."""

from __future__ import annotations

from collections.abc import Sequence


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
