"""Where a run writes to, read from its command line before any parser has seen it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from syncsam_lightning.cli.given import GivenSettings

LOGS = "logs"
"""Folder in the working folder below which each run has its own, unless another is given."""

_DIRPATHS = ("checkpoint.dirpath", "last_checkpoint.dirpath")


def output_root(given: GivenSettings) -> str:
    """Return the folder below which the logger has one for each run.

    That is ``trainer.default_root_dir`` where it is given, as Lightning has it.
    """
    return _text(given, "trainer.default_root_dir") or LOGS


def checkpoint_folders(given: GivenSettings, run_name: str | None) -> list[Path]:
    """Return where earlier starts of a run have left checkpoints, there or in folders below.

    Args:
        given: the run's settings.
        run_name: its folder below the root; None: any.
    """
    folders = [Path(folder) for key in _DIRPATHS if (folder := _text(given, key))]
    if len(folders) == len(_DIRPATHS):
        return list(dict.fromkeys(folders))
    if given.value("trainer.logger") is False:
        root = Path(_text(given, "trainer.default_root_dir") or ".")
        return [*folders, root / "checkpoints"]
    root = Path(_text(given, "trainer.logger.save_dir") or output_root(given))
    name = _text(given, "trainer.logger.name") or run_name
    return [*folders, root / name if name else root]


def _text(given: GivenSettings, key: str) -> str | None:
    value: Any = given.value(key)
    return str(value) if value is not None else None
