"""Lightning's argument parser with packaged configs and errors that can be explained."""

from __future__ import annotations

from typing import Any, NoReturn

from jsonargparse import ActionConfigFile  # type: ignore[attr-defined]
from lightning.pytorch.cli import LightningArgumentParser

from syncsam_lightning.cli.catalog import resolve_config


class ParserMessage(Exception):  # noqa: N818 - not an error yet: the CLI turns it into one
    """What the parser would have printed before leaving; :mod:`.explain` says it better."""


class ConfigFile(ActionConfigFile):
    """``--config``: a file, a packaged config's name, or inline YAML."""

    def __call__(
        self, parser: Any, cfg: Any, values: Any, option_string: str | None = None
    ) -> None:
        """Load one config into the settings parsed so far."""
        super().__call__(  # type: ignore[no-untyped-call]
            parser, cfg, resolve_config(values), option_string
        )


class Parser(LightningArgumentParser):
    """The parser of ``syncsam`` and of each of its Lightning commands."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise :class:`ParserMessage` instead of printing the usage and leaving."""
        if not self.exit_on_error:  # jsonargparse's own inner parsers, which try alternatives
            super().error(message, ex)
        raise ParserMessage(message) from ex
