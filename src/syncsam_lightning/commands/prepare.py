"""Converting a raw release ahead of time."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from syncsam_lightning.errors import SyncSAMError


class UnknownOptionError(SyncSAMError):
    """A datamodule was given an argument that it doesn't have."""


def prepare(plugin: str, source: str, table: str, *, options: dict[str, Any] | None = None) -> None:
    """Convert a raw release into a table with the datamodule that knows its layout.

    What this writes is what the datamodule itself would write at the start of a run, so
    ``--data.table TABLE`` then finds everything ready.

    Args:
        plugin: name of an installed datamodule, or the import path of one.
        source: folder of the raw release; ``-`` for data that come with the datamodule.
        table: where to write. One that is there already is kept, if it was made with the same
            options.
        options: further arguments of the datamodule that shape the table, such as
            ``--options.image_size 512``.

    Raises:
        UnknownPluginError: no datamodule has this name.
        UnknownOptionError: the datamodule has no such argument.
        DatasetNotFoundError: ``source`` is not there or has another layout.
        ConversionError: not one image could be used.
        TableError: the table is there already, made with other options.
    """
    # Imported when the command runs: its help must not wait for torch.
    from syncsam_lightning.data.plugins import find_datamodule

    cls = find_datamodule(plugin)
    _check_options(cls, options or {})
    datamodule = cls(None if source == "-" else source, table, **(options or {}))
    if Path(table).exists():
        print(f"{table} is there already")
    datamodule.prepare_data()
    datamodule.setup()


def _check_options(cls: type, options: dict[str, Any]) -> None:
    known = sorted(set(_arguments(cls)) - {"root", "table"})
    for name in options:
        if name not in known:
            close = difflib.get_close_matches(name, known)
            hint = f"did you mean {' or '.join(close)}?" if close else f"it has {', '.join(known)}"
            raise UnknownOptionError(f"{cls.__name__} has no argument {name!r}; {hint}")


def _arguments(cls: type) -> Iterator[str]:
    """Yield the arguments of ``cls``, with those of its bases as far as it passes them on."""
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
        kinds = {parameter.kind for parameter in parameters}
        yield from (
            parameter.name
            for parameter in parameters
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        )
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            return
