"""Hostile files, each by name, with what is said when one is refused."""

from __future__ import annotations

from tests.security.release_attacks import RELEASE_ATTACKS
from tests.security.use_attacks import USE_ATTACKS

ATTACKS = [*RELEASE_ATTACKS, *USE_ATTACKS]


def page() -> str:
    """Return the attacks as a page of the documentation."""
    rows = "\n".join(f"| {attack.name} | … {attack.message} … |" for attack in ATTACKS)
    return (
        "# Hostile files\n\nWhat is tried on every reader, and what is said when it is refused "
        f"([the tests](../tests/security)). None runs code, leaves its folder, or makes "
        f"room for what it only declares.\n\n| attack | message |\n|---|---|\n{rows}\n"
    )
