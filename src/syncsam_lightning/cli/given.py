"""What the user gave, on the command line and in configs, kept to explain and check it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from syncsam_lightning.cli.arguments import config_values, option_values
from syncsam_lightning.cli.catalog import resolve_config
from syncsam_lightning.errors import SyncSAMError


class InvalidConfigError(SyncSAMError):
    """A config can't be read."""


class GivenSettings:
    """The settings that were given explicitly, defaults left out.

    Keys are dotted and skip ``init_args``, as they may be written on the command line:
    ``data.batch_size``. Later settings win over earlier ones, as the parser has it.

    Args:
        args: command and options.

    Raises:
        InvalidConfigError: a config is not valid YAML.
    """

    def __init__(self, args: Sequence[str]) -> None:
        self._args = list(args)
        self._configs = [config for value in config_values(args) if (config := _load(value))]

    def keys(self) -> set[str]:
        """Return every key that was given."""
        keys = {
            _plain(arg.removeprefix("--").split("=")[0])
            for arg in self._args
            if arg.startswith("--")
        }
        for config in self._configs:
            keys.update(_walk(config))
        return keys

    def value(self, key: str) -> Any:
        """Return the value given to ``key``, on the command line first, or None."""
        spellings = {f"--{key}", f"--{_with_init_args(key)}"}
        if values := option_values(self._args, *spellings):
            return yaml.safe_load(values[-1])
        for config in reversed(self._configs):
            found = _descend(config, key.split("."))
            if found is not None:
                return found
        return None

    def class_name(self, key: str) -> str | None:
        """Return which class was given for ``key`` (``data``, ``model.network``), or None."""
        named = option_values(self._args, f"--{key}", f"--{key}.class_path")
        value = named[-1] if named else self.value(key)
        if isinstance(value, Mapping):
            value = value.get("class_path")
        return value if isinstance(value, str) else None


def _load(value: str) -> dict[str, Any]:
    resolved = resolve_config(value)
    inline = resolved.lstrip().startswith("{") or "\n" in resolved
    if resolved == "-":
        return {}
    text = resolved if inline else Path(resolved).read_text(encoding="utf-8")
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidConfigError(
            f"config {value} is not valid YAML: {' '.join(str(error).split())}"
        ) from error
    return config if isinstance(config, dict) else {}


def _walk(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in config.items():
        path = prefix if name == "init_args" else f"{prefix}.{name}".lstrip(".")
        if isinstance(value, Mapping):
            yield from _walk(value, path)
        if name != "init_args":
            yield path


def _descend(config: Any, parts: Sequence[str]) -> Any:
    for part in parts:
        if not isinstance(config, Mapping):
            return None
        arguments = config.get("init_args")
        if part not in config and isinstance(arguments, Mapping):
            config = arguments
        config = config.get(part)
    return config


def _plain(key: str) -> str:
    return key.replace(".init_args", "")


def _with_init_args(key: str) -> str:
    head, dot, last = key.rpartition(".")
    return f"{head}.init_args.{last}" if dot else key
