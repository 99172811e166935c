"""Which names of files are safe: plain paths inside the release and nothing else."""

from __future__ import annotations

import re

_UNSAFE = re.compile(r"[\0\\\ud800-\udfff]|\A/|\A[A-Za-z]:|(?:\A|/)\.{0,2}(?:/|\Z)")


def why_unsafe(name: str) -> str:
    """Return why a name is refused, ``""`` if it is a plain relative path separated by ``/``."""
    if not _UNSAFE.search(name):
        return ""
    if "\0" in name:
        return "its name holds a NUL"
    if "\\" in name:
        return "its name holds a backslash"
    if name.startswith("/") or re.match("[A-Za-z]:", name):
        return "its name is an absolute path"
    if ".." in name.split("/"):
        return "its name leaves the release"
    if {"", "."} & set(name.split("/")):
        return "its name is no plain path"
    return "its name is not valid text"
