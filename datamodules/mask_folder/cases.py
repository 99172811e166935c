"""The patient or volume that the name of an image tells."""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class CasePattern:
    """Finds the case in the name of an image.

    Args:
        pattern: regular expression searched for; its first group, or all that matches, is the case.
            None: each name is a case.

    Raises:
        ValueError: it is no regular expression.
    """

    pattern: str | None
    _compiled: re.Pattern[str] | None = field(init=False, compare=False)

    def __post_init__(self) -> None:
        try:
            compiled = re.compile(self.pattern) if self.pattern else None
        except re.error as error:
            raise ValueError(
                f"case_pattern {self.pattern!r} is no regular expression: {error}"
            ) from error
        object.__setattr__(self, "_compiled", compiled)

    def case(self, name: str) -> str | None:
        """Return the case of a name, None if the pattern does not match."""
        if self._compiled is None:
            return name
        found = self._compiled.search(name)
        return found and (found[1] if self._compiled.groups else found[0])

    @property
    def mismatch(self) -> str:
        """Why an image without a case is left out."""
        return f"case_pattern {self.pattern!r} does not match its name"
