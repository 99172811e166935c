"""The parser of commands that are plain functions, with errors that can be explained."""

from __future__ import annotations

import re
from typing import Any, NoReturn

from jsonargparse import ArgumentParser

from syncsam_lightning.cli.explain import Choices, UsageError, explain
from syncsam_lightning.cli.given import GivenSettings

_REQUIRED = re.compile(r"arguments are required: (?P<names>.+)|\"(?P<name>\w+)\" is required")


class CommandParser(ArgumentParser):
    """jsonargparse's parser; its messages become errors of one sentence.

    Args:
        form: what to tell those who left a required argument out; ``{names}`` stands for it.
        kwargs: see :class:`jsonargparse.ArgumentParser`.
    """

    def __init__(self, *args: Any, form: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.allow_abbrev = False  # a misspelt option must not count as the start of another
        self._form = form

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise :class:`UsageError` instead of printing the usage and leaving."""
        if not self.exit_on_error:  # jsonargparse's own inner parsers, which try alternatives
            super().error(message, ex)
        if (match := _REQUIRED.search(message)) is not None:
            names = match["names"] or match["name"]
            raise UsageError(self._form.format(names=names)) from ex
        keys = [action.dest for action in self._actions]
        raise explain(message, GivenSettings([]), Choices(keys=keys)) from ex
