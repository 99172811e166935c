"""`--ckpt_path last`: the newest checkpoint that is whole, found without being named."""

from __future__ import annotations

import logging
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from syncsam_lightning.cli.arguments import option_values
from syncsam_lightning.errors import SyncSAMError
from syncsam_lightning.training.folder_lock import check_all_are_free

log = logging.getLogger(__name__)

OPTION, LAST = "--ckpt_path", "last"


class NoCheckpointError(SyncSAMError):
    """There is no checkpoint where the newest was looked for."""


def with_newest_checkpoint(args: Sequence[str], *folders: Path) -> list[str]:
    """Put a path in the place of ``--ckpt_path last``, or of ``--ckpt_path FOLDER``.

    A ``fit`` with ``last`` that finds none begins anew, so that one command line both starts a run
    and takes it up again, however often it is killed.

    Args:
        args: command and options.
        folders: where ``last`` looks, with all folders below.

    Raises:
        FolderInUseError: the run that this ``fit`` with ``last`` would take up is still going.
        NoCheckpointError: there is no whole checkpoint, and this is not a ``fit`` with ``last``.
    """
    values = option_values(args, OPTION)
    if not values or not (values[-1] == LAST or Path(values[-1]).is_dir()):
        return list(args)
    where = folders if values[-1] == LAST else (Path(values[-1]),)
    told = " and ".join(map(str, where))
    others = list(_without_option(args))
    if args[0] == "fit" and values[-1] == LAST:
        # All of them: a run that has saved nothing yet goes on from an earlier start's checkpoint.
        for folder in where:
            check_all_are_free(folder)
    if found := newest_checkpoint(*where):
        log.info("going on from %s", found)
        return [*others, f"{OPTION}={found}"]
    if args[0] == "fit" and values[-1] == LAST:
        log.info("no checkpoint in %s yet: a new run begins", told)
        return others
    raise NoCheckpointError(
        f"no whole checkpoint in {told} (looked in {Path.cwd()}, for *.ckpt in all folders below)"
    )


def newest_checkpoint(*folders: Path) -> Path | None:
    """Return the checkpoint last written to folders or to any below; None if there is none.

    Those that are damaged (a disk that was full, a copy that broke off) are named and passed over.
    """
    found = {path for folder in folders for path in folder.rglob("*.ckpt")}
    by_age = sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))
    for path in reversed(by_age):
        if (damage := _damage(path)) is None:
            return path
        log.warning("%s is damaged (%s) and passed over", path, damage)
    return None


def _damage(path: Path) -> str | None:
    """Return what is wrong with a file that torch wrote, judging by its checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
                return "torch packs nothing"
            broken = archive.testzip()
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        return str(error) or type(error).__name__
    return f"the checksum of {broken} in it is wrong" if broken else None


def _without_option(args: Sequence[str]) -> Iterator[str]:
    is_value = False
    for arg in args:
        if is_value:
            is_value = False
        elif arg == OPTION:
            is_value = True
        elif not arg.startswith(f"{OPTION}="):
            yield arg
