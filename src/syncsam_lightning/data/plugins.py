"""Finding datamodules: the ones shipped here and those of any installed package."""

from __future__ import annotations

import importlib
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from syncsam_lightning.data.datamodule import PromptableDataModule
from syncsam_lightning.errors import UnknownPluginError

GROUP = "syncsam_lightning.datamodules"
"""Entry-point group in which packages announce their datamodules."""


def plugin_entry_points() -> list[EntryPoint]:
    """Return the announced plugins by name, without importing any."""
    return sorted(entry_points(group=GROUP), key=lambda entry: entry.name)


@cache
def load_datamodules() -> tuple[dict[str, type[PromptableDataModule]], dict[str, str]]:
    """Import every announced plugin once.

    Returns:
        the classes by class name, and for every plugin that could not be imported its name and why:
        a broken plugin must not stop those who don't use it.
    """
    loaded: dict[str, type[PromptableDataModule]] = {}
    broken: dict[str, str] = {}
    for entry in plugin_entry_points():
        try:
            cls = entry.load()
        except (ImportError, AttributeError, SyntaxError, TypeError, ValueError) as error:
            broken[entry.name] = f"{entry.value}: {type(error).__name__}: {error}"
            continue
        if isinstance(cls, type) and issubclass(cls, PromptableDataModule):
            loaded[cls.__name__] = cls
        else:
            broken[entry.name] = f"{entry.value} is no PromptableDataModule"
    return loaded, broken


def find_datamodule(name: str) -> type[PromptableDataModule]:
    """Return a datamodule by class name or import path.

    Raises:
        UnknownPluginError: there is none; the message lists those there are.
    """
    loaded, broken = load_datamodules()
    if name in loaded:
        return loaded[name]
    module, _, attribute = name.rpartition(".")
    if module:
        try:
            cls = getattr(importlib.import_module(module), attribute, None)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise UnknownPluginError(name, loaded, [f"{module} ({error})"]) from error
            cls = None
        if isinstance(cls, type) and issubclass(cls, PromptableDataModule):
            return cls
    raise UnknownPluginError(name, loaded, [f"{key} ({why})" for key, why in broken.items()])


def describe() -> str:
    """Return the known datamodules, and those that failed to import, as text."""
    loaded, broken = load_datamodules()
    text = "known datamodules: " + (", ".join(sorted(loaded)) or "none")
    if broken:
        text += "; failed to import: " + "; ".join(f"{k} ({why})" for k, why in broken.items())
    return text
