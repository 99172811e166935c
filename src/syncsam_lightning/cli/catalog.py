"""What is installed and can be named on the command line, found without importing torch."""

from __future__ import annotations

from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

from syncsam_lightning.errors import SyncSAMError

DATAMODULE_GROUP = "syncsam_lightning.datamodules"
"""Entry-point group in which packages announce their datamodules."""


class UnknownConfigError(SyncSAMError):
    """A config was named that is neither a file nor one of the packaged configs."""


def config_folder() -> Path:
    """Return the folder with the packaged configs."""
    return Path(str(files("syncsam_lightning.configs")))


def packaged_configs() -> list[str]:
    """Return the names of the packaged configs, sorted, with their ``.yaml``."""
    root = config_folder()
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.yaml"))


def config_summary(name: str) -> str:
    """Return the first comment line of a packaged config, or ``""``."""
    with (config_folder() / name).open(encoding="utf-8") as file:
        first = file.readline()
    return first.lstrip("# ").strip() if first.startswith("#") else ""


def listed_configs() -> dict[str, str]:
    """Return the packaged configs as help lists them, each with a summary.

    Those of a folder share one line, ``FOLDER/*.yaml``.
    """
    listed: dict[str, str] = {}
    names = packaged_configs()
    for name in names:
        folder, _, _ = name.rpartition("/")
        if not folder:
            listed[name] = config_summary(name)
        elif (group := f"{folder}/*.yaml") not in listed:
            count = sum(other.startswith(f"{folder}/") for other in names)
            listed[group] = f"{count} configs; {name.removeprefix(folder + '/')}: " + (
                config_summary(name)
            )
    return listed


def resolve_config(value: str) -> str:
    """Turn what was given to ``--config`` into something the parser can read.

    An existing file wins. Otherwise the name, with or without ``.yaml``, is looked up among the
    packaged configs. Inline YAML or JSON and ``-`` (standard input) pass unchanged.

    Raises:
        UnknownConfigError: it is none of these.
    """
    if value == "-" or value.lstrip().startswith("{") or "\n" in value or Path(value).is_file():
        return value
    root = config_folder().resolve()
    for name in (value, f"{value}.yaml"):
        path = (root / name).resolve()
        if path.is_file() and path.suffix == ".yaml" and root in path.parents:
            return str(path)
    raise UnknownConfigError(
        f"config {value!r} is neither a file (looked in {Path.cwd()}) nor a packaged config; "
        f"packaged: {', '.join(listed_configs())}"
    )


def datamodule_names() -> list[str]:
    """Return the names of the installed datamodules, sorted, without importing any."""
    return sorted({entry.name for entry in entry_points(group=DATAMODULE_GROUP)})
