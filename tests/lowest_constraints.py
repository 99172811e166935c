"""Prints the lowest version that pyproject.toml allows of each dependency, as pip constraints."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

USER_EXTRAS = ("surface", "dicom", "itk", "coco", "export", "hub", "aws")
"""What users install; the tools of developers are pinned by constraints.txt."""

_BOUND = re.compile(r"(?P<name>[A-Za-z0-9_.-]+)(?:\[[^]]*\])?\s*>=\s*(?P<version>[0-9][^,; ]*)")


def lowest(requirements: list[str]) -> list[str]:
    """Return ``name==version`` for the lower bound of each requirement.

    Raises:
        ValueError: a requirement has no lower bound.
    """
    pinned = []
    for requirement in requirements:
        found = _BOUND.match(requirement)
        if found is None:
            raise ValueError(f"{requirement!r} in pyproject.toml has no lower bound (>=)")
        pinned.append(f"{found['name']}=={found['version']}")
    return pinned


def requirements(project: Mapping[str, Any]) -> list[str]:
    """Return what users install, of the table ``project`` of pyproject.toml."""
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *(entry for extra in USER_EXTRAS for entry in extras[extra])]


def main() -> None:
    """Print the constraints."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    print("# Written by `make constraints-lowest.txt`: the lower bounds of pyproject.toml.")
    print("\n".join(lowest(requirements(project))))


if __name__ == "__main__":
    main()
