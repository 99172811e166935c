"""Which names of files are safe: plain paths inside the release and nothing else."""

from __future__ import annotations

import re

_UNSAFE = re.compile(r"[\0\\\ud800-\udfff]|\A/|\A[A-Za-z]:|(?:\A|/)\.{0,2}(?:/|\Z)")


def why_unsafe(name: str) -> str:
    """Return why a name is refused, ``""`` if it is a plain relative path separated by ``/``."""
    if _is_plainly_safe(name) or not _UNSAFE.search(name):
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


def _is_plainly_safe(name: str) -> bool:
    """Pass the names of nearly all files, at a tenth of the time of the pattern."""
    return (
        name.isascii()
        and name[:1] not in ("", "/", ".")
        and name[1:2] != ":"
        and name[-1] != "/"
        and "/." not in name
        and "//" not in name
        and "\\" not in name
        and "\0" not in name
    )
