"""Named rules for the known defects of a release, each of which a user can switch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """What is done about one defect.

    Args:
        does: what it does, in the third person.
        known_from: who reported the defect.
        default: whether it is on.
    """

    does: str
    known_from: str
    default: bool


def switched(rules: Mapping[str, Rule], switches: Mapping[str, bool] | None) -> dict[str, bool]:
    """Return which rules are on.

    Args:
        rules: of the release, by name.
        switches: rules that are to be on or off against their default.

    Raises:
        ValueError: there is no rule of this name (the message lists the names), or a switch is
            neither on nor off.
    """
    for name, on in (switches or {}).items():
        if name not in rules:
            raise ValueError(f"no rule {name!r}; there are {', '.join(rules)}")
        if not isinstance(on, bool):
            raise ValueError(f"rule {name} must be true or false, got {on!r}")
    return {name: rule.default for name, rule in rules.items()} | dict(switches or {})
