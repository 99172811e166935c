"""Names of the files that masks go to."""

from __future__ import annotations

import re

from syncsam_lightning.seeding import stable_key

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def safe_name(text: str, *, longest: int = 100) -> str:
    """Return ``text`` as part of a file name that stays in its folder.

    What had to be changed is followed by a short hash of the original, so that two ids never share
    a name.
    """
    safe = _UNSAFE.sub("_", text).lstrip(".")[:longest] or "_"
    return safe if safe == text else f"{safe}-{stable_key(text) & 0xFFFFFFFF:08x}"
