"""`--options.NAME VALUE`: arguments of a datamodule, checked against its signature."""

from __future__ import annotations

from argparse import ArgumentError
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jsonargparse import ArgumentParser

from syncsam_lightning.cli.explain import Choices, UsageError, explain, innermost
from syncsam_lightning.cli.given import GivenSettings

PREFIX = "--options."


@dataclass(frozen=True, slots=True)
class PluginOptions:
    """The arguments that were given for a datamodule.

    Args:
        args: as ``--NAME VALUE`` or ``--NAME=VALUE``; a name may be dotted.
    """

    args: Sequence[str]

    @classmethod
    def split_off(cls, args: Sequence[str]) -> tuple[list[str], PluginOptions]:
        """Return the other arguments of a command, and those that stand as ``--options.NAME``."""
        rest: list[str] = []
        options: list[str] = []
        waiting = False
        for arg in args:
            if waiting:
                options.append(arg)
                waiting = False
            elif arg.startswith(PREFIX):
                options.append(f"--{arg.removeprefix(PREFIX)}")
                waiting = "=" not in arg
            else:
                rest.append(arg)
        return rest, cls(options)

    def names(self) -> list[str]:
        """Return the names of the arguments, sorted."""
        given = GivenSettings(self.args).keys()
        return sorted({key.split(".")[0] for key in given})

    def values(self, datamodule: type) -> dict[str, Any]:
        """Return the arguments as values of the types that a datamodule declares.

        Args:
            datamodule: has arguments of these names.

        Raises:
            UsageError: a value is of another type, or refused.
        """
        parser = ArgumentParser(exit_on_error=False)
        parser.allow_abbrev = False
        parser.add_class_arguments(datamodule, None, skip={"root", "table"}, fail_untyped=False)
        try:
            parsed = parser.instantiate(parser.parse_args(list(self.args)))
        except ArgumentError as error:
            message = str(explain(str(error), GivenSettings(self.args), Choices()))
            raise UsageError(f"options.{message}") from error
        except ValueError as error:
            raise UsageError(str(innermost(error))) from error
        return {name: parsed[name] for name in self.names()}
