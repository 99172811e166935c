"""What the user gave, on the command line and in configs, kept to explain and check it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import yaml

from syncsam_lightning.cli.arguments import config_values, option_values
from syncsam_lightning.cli.catalog import resolve_config
from syncsam_lightning.errors import SyncSAMError

_MOST_SETTINGS = 100_000
_DEEPEST = 100


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
    try:
        text = resolved if inline else Path(resolved).read_text(encoding="utf-8")
        # The parser takes seconds to find out by itself.
        nesting = accumulate((char in "[{") - (char in "]}") for char in text)
        if max(nesting, default=0) > _DEEPEST:
            raise ValueError(f"its brackets are nested more than {_DEEPEST} levels deep")
        config = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidConfigError(
            f"config {value} is not valid YAML: {' '.join(str(error).split())}"
        ) from error
    if _expanded_size(config, {}) > _MOST_SETTINGS:
        raise InvalidConfigError(
            f"config {value} has more than {_MOST_SETTINGS:,} settings once its aliases are "
            "followed: write it without aliases of aliases"
        )
    return config if isinstance(config, dict) else {}


def _expanded_size(value: Any, sizes: dict[int, float]) -> float:
    """Return how many values there are with every alias written out; infinite for a loop.

    Args:
        value: of a config.
        sizes: of the mappings and lists that were met before, by identity.
    """
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in sizes:
        sizes[id(value)] = math.inf  # that is what it is if it is met again inside itself
        members = value.values() if isinstance(value, dict) else value
        sizes[id(value)] = 1 + sum(_expanded_size(member, sizes) for member in members)
    return sizes[id(value)]


def _walk(config: Mapping[Any, Any], prefix: str = "") -> Iterator[str]:
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
