"""Converting a raw release ahead of time."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from syncsam_lightning.errors import SyncSAMError

_READING = frozenset(
    {
        "augmentation",
        "batch_size",
        "eval_batch_size",
        "masks_per_image",
        "num_workers",
        "sampling",
        "seed",
    }
)


class UnknownOptionError(SyncSAMError):
    """A datamodule was given an argument that it doesn't have."""


def prepare(
    plugin: str,
    source: str,
    table: str,
    *,
    workers: int | None = None,
    max_unreadable: float = 0.01,
    max_download: str = "1GB",
    filter: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
) -> None:
    """Convert a raw release into a table with the datamodule that knows its layout.

    What this writes is what the datamodule itself would write at the start of a run, so
    ``--data.table TABLE`` then finds everything ready. Interrupted, even killed, the same command
    goes on from where it was. If another process is preparing the table, it is waited for.

    Args:
        plugin: name of an installed datamodule, or the import path of one.
        source: folder of the raw release, or for datamodules that read archives an archive or an
            address such as ``s3://bucket/release``; for some the address of a folder on a web
            server, or a file NAME.txt with the addresses of archives; ``-`` for data that come
            with the datamodule.
        table: where to write. One that is there already is kept, if it was made with the same
            options.
        workers: processes that convert; all processors by default. Each takes about a gigabyte of
            memory at most, most of it shared libraries.
        max_unreadable: share of the images or masks that may be unreadable files before this stops;
            those that are let pass are listed.
        max_download: how much to read from web servers without asking, such as ``500MB``.
        filter: which images and masks of the release get into the table, as ``syncsam fit`` takes
            it: ``--data.filter.modality ct``, and ``modality_not``, ``source``, ``source_not``,
            ``label``, ``label_not``; all by default. Of a release on a web server nothing else is
            read.
        options: further arguments of the datamodule that shape the table, such as
            ``--options.image_size 512``.

    Raises:
        UnknownPluginError: no datamodule has this name.
        UnknownOptionError: the datamodule has no such argument, refuses its value, or it does not
            shape a table; or the filter has no such setting.
        FilterError: the filter leaves nothing.
        DatasetNotFoundError: ``source`` is not there or has another layout.
        ConversionError: not one image could be used, too many could not be read, or a worker
            process was killed.
        TableError: the table is there already, made with other options or from another source.
    """
    # Imported when the command runs: its help must not wait for torch.
    from syncsam_lightning.data.conversion import WorkOptions
    from syncsam_lightning.data.filter import RowFilter
    from syncsam_lightning.data.plugins import find_datamodule
    from syncsam_lightning.data.table_settings import check_slice

    cls = find_datamodule(plugin)
    if workers is not None and workers < 1:
        raise UnknownOptionError(f"workers must be at least 1, got {workers}")
    if not 0 <= max_unreadable <= 1:
        raise UnknownOptionError(f"max_unreadable is a share from 0 to 1, got {max_unreadable}")
    arguments = options or {}
    check_options(cls, arguments)
    limit = _bytes(max_download)
    _check_filter(filter or (), sorted(field.name for field in dataclasses.fields(RowFilter)))
    chosen = RowFilter(**(filter or {}))
    try:
        datamodule = cls(None if source == "-" else source, table, filter=chosen, **arguments)
    except (TypeError, ValueError) as error:
        raise UnknownOptionError(f"{cls.__name__} refuses its options: {error}") from error
    work = WorkOptions(
        workers or _processors(), max_unreadable=max_unreadable, max_download=limit, ask=_ask
    )
    report = datamodule.prepare(work, chosen)
    if report is not None:
        print(report.details(datamodule.card.published))
        return
    check_slice(datamodule.table, chosen.given())
    datamodule.setup()
    datamodule.check_origin()
    print(f"{table} is there already; remove it to prepare it again")


def _check_filter(names: Iterable[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise UnknownOptionError(f"data.filter has no {name!r}; {_hint(name, known)}")


def _bytes(text: str) -> int:
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([kMGT]?)B?", str(text).strip())
    if found is None:
        raise UnknownOptionError(f"max_download is {text!r}, expected a size such as 500MB or 20GB")
    return int(float(found[1]) * 10 ** (3 * " kMGT".index(found[2] or " ")))


def _ask(question: str) -> bool:
    """Ask a person; where nobody sits at a terminal the answer is no."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _processors() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_options(cls: type, names: Iterable[str]) -> None:
    """Raise unless a datamodule has arguments of these names that shape its table.

    Raises:
        UnknownOptionError: one of them is unknown, or only says how a table is read.
    """
    known = sorted(set(_arguments(cls)) - {"root", "table", "filter"} - _READING)
    for name in names:
        if name == "filter":
            raise UnknownOptionError(
                "the filter is no option of the datamodule: give it as --data.filter.modality ct"
            )
        if name in _READING:
            raise UnknownOptionError(
                f"{name} says how a table is read, not what is in it: give it to syncsam fit or "
                f"test, as data.{name}"
            )
        if name not in known:
            raise UnknownOptionError(
                f"{cls.__name__} has no argument {name!r}; {_hint(name, known)}"
            )


def _hint(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known)
    return f"did you mean {' or '.join(close)}?" if close else f"it has {', '.join(known)}"


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
